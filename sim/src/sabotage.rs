//! Where a rule can be broken on purpose: between a node and the world.
//!
//! A checker is believed once it has caught somebody. Mutants stand here, in tests, and change what goes into a node or
//! comes out of it, so that the node and whoever believes it behave as if a rule were missing; the cores themselves have
//! no switch for that.

use crate::observation::Host;
use chinwag_base::Generation;
use chinwag_node::{Config, Input, Output, Recovered};

/// Somebody who breaks a rule.
pub trait Saboteur {
    /// Sees an input before the node does. None: the node never sees it.
    fn input(&mut self, host: Host, input: Input) -> Option<Input> {
        let _ = host;
        Some(input)
    }

    /// Sees an output before the world does, and says what the world sees instead.
    fn output(&mut self, host: Host, output: Output) -> Vec<Output> {
        let _ = host;
        vec![output]
    }

    /// Sees what a process begins with.
    fn start(
        &mut self,
        host: Host,
        config: &mut Config,
        generation: &mut Generation,
        recovered: &mut Recovered,
    ) {
        let _ = (host, config, generation, recovered);
    }
}
