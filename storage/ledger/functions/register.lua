redis.register_function('tollgate_admit', function(keys, args) return judge(keys, args, true) end)
redis.register_function('tollgate_judge', function(keys, args) return judge(keys, args, false) end)
redis.register_function('tollgate_tell', tell)
redis.register_function('tollgate_post', post)
redis.register_function('tollgate_fill', fill)
redis.register_function('tollgate_order', order)
redis.register_function('tollgate_name', name)
redis.register_function('tollgate_lease', lease)
redis.register_function('tollgate_lease_release', lease_release)
redis.register_function('tollgate_birth', birth)
redis.register_function{
    function_name = 'tollgate_usage',
    callback = usage,
    flags = {'no-writes'}
}
redis.register_function{
    function_name = 'tollgate_transaction',
    callback = transaction,
    flags = {'no-writes'}
}
redis.register_function{
    function_name = 'tollgate_reserved',
    callback = reserved,
    flags = {'no-writes'}
}
-- Without the flag no-writes, so that Redis refuses it wherever it would refuse an admission (see
-- ledger_try_command).
redis.register_function('tollgate_version', function() return VERSION end)
