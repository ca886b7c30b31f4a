//! A node with sockets, disk, clock and entropy: libp2p, redb, HTTP.
