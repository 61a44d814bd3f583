-- What a server says of its place in the cluster; one row.
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'system', system_identifier::text)
FROM pg_control_system();
