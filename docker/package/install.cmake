# Where `cmake --install` puts each file, and the Debian package that `cpack` makes of them. The paths in the units
# are filled in at installation, because the prefix may be given only then.
include(GNUInstallDirs)

install(TARGETS tollgate tollgate-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${CMAKE_BINARY_DIR}/manual/tollgate.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_BINARY_DIR}/manual/tollgate.yaml.5.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES ${CMAKE_BINARY_DIR}/manual/tollgate.bash RENAME tollgate
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${CMAKE_BINARY_DIR}/manual/tollgate.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(room tokens docker bench server storage storage/ledger)
  install(FILES ${CMAKE_SOURCE_DIR}/${room}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/${room})
endforeach()
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE RENAME copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_CURRENT_LIST_DIR}/changelog DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_CURRENT_LIST_DIR}/tollgate.socket DESTINATION lib/systemd/system)
install(CODE "
  set(BINARY \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/tollgate\")
  configure_file(\"${CMAKE_CURRENT_LIST_DIR}/tollgate.service.in\" \"${CMAKE_BINARY_DIR}/tollgate.service\" @ONLY)
  file(INSTALL \"${CMAKE_BINARY_DIR}/tollgate.service\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")
")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tollgate)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "file server for downloads that have been paid for")
set(CPACK_PACKAGE_DESCRIPTION
  "A storefront signs a time-limited link, a client downloads the file with it, and the
account behind it is billed for the bytes that arrived. A server on io_uring,
with Redis for the accounts and a journal on disk for the bill.")
set(CPACK_PACKAGE_CONTACT "Tollgate developers <developers@tollgate.invalid>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "redis-server (>= 5:7)") # for `redis: embedded`
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/postinst ${CMAKE_CURRENT_LIST_DIR}/prerm
  ${CMAKE_CURRENT_LIST_DIR}/postrm)
set(CPACK_STRIP_FILES ON)
# So that the prefix is /usr while the files are put elsewhere.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
include(CPack)
