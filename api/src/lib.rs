//! The contract of the HTTP API: request and reply types, exit codes, error shape.
