# Writes INPUT with OLD, which must occur once, replaced by NEW into OUTPUT.
file(READ ${INPUT} text)
string(FIND "${text}" "${OLD}" first)
string(FIND "${text}" "${OLD}" last REVERSE)
if(first EQUAL -1 OR NOT first EQUAL last)
  message(FATAL_ERROR "${INPUT} does not hold \"${OLD}\" just once: plant the fault in what it holds now")
endif()
string(REPLACE "${OLD}" "${NEW}" text "${text}")
file(WRITE ${OUTPUT} "${text}")
