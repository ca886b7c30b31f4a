//! Whole cells: one list of their keys, each followed by its parts.

use super::{DotTold, Eye, HlcTold, KeyTold, Names, Pen};
use crate::whole::CELL_HEAD_BYTES;
use crate::{Extent, Lease, Part, Run, Slice};
use chinwag_base::{Key, ReplicaId, Value};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key, or one of the parts of the cell under the key before it.
#[derive(Serialize, Deserialize)]
enum Told<'a> {
    Cell { key: KeyTold<'a> },
    Sibling { dot: DotTold, hlc: HlcTold, value: Value },
    Element { dot: DotTold, element: Value },
    Share { replica: u32, run: Option<Run>, floor: Option<Run> },
    Flag { dot: DotTold },
    Lease { dot: DotTold, lease: Lease },
}

/// A bound of what it takes, in bytes.
pub fn weight(slice: &Slice) -> usize {
    let parts = slice.cells.iter().map(|(_, parts)| parts.len());
    slice.weight() + super::NAME_BYTES * parts.sum::<usize>()
}

/// Writes it.
///
/// # Errors
/// Whatever the serializer says.
pub fn serialize<S: Serializer>(slice: &Slice, serializer: S) -> Result<S::Ok, S::Error> {
    let names = Names::of(slice.cells.iter().flat_map(|(_, parts)| parts).map(replica_of));
    (names.told(), &slice.extent, List(&slice.cells, &names)).serialize(serializer)
}

/// Reads it.
///
/// # Errors
/// Whatever the deserializer says; or it is not what [`serialize`] writes, or more than a frame may have.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slice, D::Error> {
    let mut cells: Vec<(Key, Vec<Part>)> = Vec::new();
    let mut parts = Vec::new();
    let extent: Extent = super::read(deserializer, |eye, told: Told<'_>| {
        match told {
            Told::Cell { key } => {
                let key = eye.key(key)?;
                eye.weigh(CELL_HEAD_BYTES + key.as_str().len())?;
                end(&mut cells, &mut parts);
                cells.push((key, Vec::new()));
            }
            part => {
                let part = eye.part(part)?;
                eye.weigh(part.weight())?;
                if cells.is_empty() {
                    return Err("a part of no cell");
                }
                parts.push(part);
            }
        }
        Ok(())
    })?;
    end(&mut cells, &mut parts);
    Ok(Slice { extent, cells })
}

/// All parts of the last cell have come: they take the memory that they need.
fn end(cells: &mut [(Key, Vec<Part>)], parts: &mut Vec<Part>) {
    if let Some((_, last)) = cells.last_mut() {
        last.reserve_exact(parts.len());
        last.append(parts);
    }
}

fn replica_of(part: &Part) -> ReplicaId {
    match part {
        Part::Share { replica, .. } => *replica,
        part => part.newest().replica,
    }
}

struct List<'a>(&'a [(Key, Vec<Part>)], &'a Names);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pen = Pen::new(self.1);
        let len = self.0.iter().map(|(_, parts)| 1 + parts.len()).sum();
        let mut list = serializer.serialize_seq(Some(len))?;
        for (key, parts) in self.0 {
            list.serialize_element(&Told::Cell { key: pen.key(key) })?;
            parts.iter().try_for_each(|part| list.serialize_element(&pen.part(part)))?;
        }
        list.end()
    }
}

impl Pen<'_> {
    fn part(&mut self, part: &Part) -> Told<'static> {
        match part {
            Part::Sibling { dot, hlc, value } => {
                Told::Sibling { dot: self.dot(*dot), hlc: self.hlc(*hlc), value: value.clone() }
            }
            Part::Element { dot, element } => Told::Element { dot: self.dot(*dot), element: element.clone() },
            Part::Share { replica, run, floor } => {
                Told::Share { replica: self.replica(*replica), run: *run, floor: *floor }
            }
            Part::Flag { dot } => Told::Flag { dot: self.dot(*dot) },
            Part::Lease { dot, lease } => Told::Lease { dot: self.dot(*dot), lease: *lease },
        }
    }
}

impl Eye {
    fn part(&mut self, told: Told<'_>) -> Result<Part, &'static str> {
        Ok(match told {
            Told::Cell { .. } => return Err("a key where a part should be"),
            Told::Sibling { dot, hlc, value } => {
                Part::Sibling { dot: self.dot(dot)?, hlc: self.hlc(hlc)?, value }
            }
            Told::Element { dot, element } => Part::Element { dot: self.dot(dot)?, element },
            Told::Share { replica, run, floor } => {
                Part::Share { replica: self.replica(replica)?, run, floor }
            }
            Told::Flag { dot } => Part::Flag { dot: self.dot(dot)? },
            Told::Lease { dot, lease } => Part::Lease { dot: self.dot(dot)?, lease },
        })
    }
}
