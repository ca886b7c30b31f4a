//! Values that merge: dots, clocks, cells and the replica that owns all keys, pure.
