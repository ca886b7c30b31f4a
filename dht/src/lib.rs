//! Where records live: record format, limits, owners by XOR distance and expiry, pure.
