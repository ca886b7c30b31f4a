//! Cells that were made ready apart make the same replica as if they had come one by one.

use super::laws::{every_kind, fields, lent};
use super::world::{NOON, World, replica_id, set, state};
use crate::{Part, Replica, Stock};
use chinwag_base::Key;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    /// Cells, or parts of them, in whatever order and in however many stocks.
    #[test]
    fn a_stock_makes_the_replica_that_told_its_cells(
        ops in vec((0_usize..3, prop_oneof![every_kind(), fields(), lent()], any::<u64>()), 1..60),
        are_cut in any::<bool>(),
        ways in vec((any::<u8>(), 0_usize..4), 300),
        is_in_order in any::<bool>(),
    ) {
        let mut world = World::new(3);
        for (at, op, bits) in ops {
            // Some cannot be done, which is as good.
            drop(world.write(at, op));
            world.send(at, (at + 1) % 3, |i| bits >> (i % 64) & 1 == 1);
        }
        for replica in &mut world.replicas {
            let checkpoint = replica.checkpoint();
            let cells = checkpoint.cells.iter().cloned();
            let cut = |(key, parts): (Key, Vec<Part>)| match are_cut {
                true => parts.into_iter().map(|part| (key.clone(), vec![part])).collect(),
                false => vec![(key, parts)],
            };
            let mut pieces: Vec<_> = cells.flat_map(cut).zip(ways.iter().cycle()).collect();
            if !is_in_order {
                pieces.sort_by_key(|(_, (order, _))| *order);
            }
            let mut stocks = vec![Stock::default(); 4];
            for ((key, parts), (_, stock)) in pieces {
                stocks[*stock].put(key, parts);
            }
            let stock = stocks.into_iter().reduce(|mut all, stock| {
                all.append(stock);
                all
            }).unwrap();
            let told = Stock::from(checkpoint.cells.clone());
            prop_assert_eq!(&stock, &told);
            let is_told = |(_, parts): &&(Key, Vec<Part>)| !parts.is_empty();
            prop_assert_eq!(stock.len(), checkpoint.cells.iter().filter(is_told).count());

            let mut again = Replica::new(replica_id(9));
            again.recover_checkpoint(checkpoint.with(stock));
            prop_assert_eq!(state(&again), state(replica));
            prop_assert_eq!((&again.floors, again.fields), (&replica.floors, replica.fields));
            prop_assert!(again.namespace_digests().eq(replica.namespace_digests()));
            prop_assert_eq!(again.changed_cells(), 0);
            let newest = told.iter().flat_map(|(_, parts)| parts).filter_map(|part| match part {
                Part::Sibling { hlc, .. } => Some(hlc),
                _ => None,
            }).max();
            again.stage_local(&[set("next", "write")], NOON).unwrap();
            prop_assert!(newest < Some(again.staged()[0].hlc));
        }
    }
}
