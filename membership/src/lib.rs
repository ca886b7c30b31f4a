//! Who is alive: SWIM on ring observers with phi-accrual, as a pure state machine.
