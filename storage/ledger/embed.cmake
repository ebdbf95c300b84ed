# Writes the text file INPUT as the C array NAME (bytes, NUL-terminated) into OUTPUT.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REPEAT "0x..," 16 row)
string(REGEX REPLACE "(${row})" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "/* made from ${NAME} by embed.cmake; not edited by hand */\nstatic const unsigned char ${NAME}[] = {\n${bytes}0x00};\n")
