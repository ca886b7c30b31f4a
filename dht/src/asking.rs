//! From a client's request to the questions that the owners are asked.

use crate::Dht;
use crate::cell::{Cell, Edit};
use crate::commit::Waiter;
use crate::distance::Id;
use crate::io::{Ask, AskError, Asked, Verdict};
use crate::load::Load;
use crate::message::{Found, Message, Refusal, Stored, Text};
use crate::operation::{Answer, Inquiry, LINGER, Operation, Origin, Put, Work};
use crate::record::{Content, Record, RecordKey};
use chinwag_base::limits::{
    DHT_OPERATION_BYTES_MAX, DHT_OPERATIONS_MAX, LOADS_MAX, OWNERS_MAX, RECORD_OVERHEAD_BYTES,
};
use chinwag_base::{Key, Moment, NodeId, WallTime};
use chinwag_crdt::Dot;
use std::time::Duration;

/// Members beyond the owners that are asked in place of owners that do not answer.
const STAND_INS_MAX: usize = 4;
/// Members beyond the owners that a search asks too: who was an owner a moment ago.
const FIND_BEYOND: usize = 2;
/// How long a search waits for those that are late: people look at it.
const FIND_WITHIN: Duration = Duration::from_secs(1);

impl Operation {
    /// How many members a find asks.
    pub(crate) fn to_find(&self) -> usize {
        (self.owners + FIND_BEYOND).min(self.ranking.len())
    }
}

impl Dht {
    /// Begins what is asked for.
    pub(crate) fn begin(&mut self, origin: Origin, ask: Ask, until: Moment) -> Result<(), AskError> {
        let is_write = matches!(ask, Ask::Put { .. } | Ask::PutBlob { .. });
        if is_write && self.members.get(&self.me).is_some_and(|me| !me.may_write) {
            return Err(AskError::Reader);
        }
        let (work, key, quorum) = match ask {
            Ask::Put { key, edit, expires, quorum } => {
                (self.plan_put(&key, edit, expires)?, RecordKey::Cell(key), quorum)
            }
            Ask::PutBlob { bytes, expires, quorum } => {
                let record =
                    Record::blob(bytes, self.me, self.wall()).until(expires).validate(self.wall())?;
                let record = record.into_record();
                let key = record.key.clone();
                (Work::Put(Put { record, again: None, beside: Cell::new() }), key, quorum)
            }
            Ask::Get { key, quorum } => {
                (Work::Get { key: key.clone(), then: None, found: None }, key, quorum)
            }
            Ask::Find { key } => (Work::Find { key: key.clone() }, key, None),
        };
        let until = if let Work::Find { .. } = work { until.min(self.now + FIND_WITHIN) } else { until };
        let id = key.id();
        let ranking = self.placement.nearest(&id, OWNERS_MAX);
        let owners = self.config.owners.clamp(1, ranking.len().max(1));
        if let Some(asked) = quorum.filter(|quorum| *quorum > owners || *quorum == 0) {
            return Err(AskError::Quorum { asked, owners });
        }
        let bytes = RECORD_OVERHEAD_BYTES
            + match &work {
                Work::Put(put) => put.record.content.len(),
                Work::Get { .. } | Work::Find { .. } => 0,
            };
        let operations = &mut self.operations;
        // What is answered and waits for the late ones makes room for what is not.
        let oldest =
            if operations.open.len() >= DHT_OPERATIONS_MAX { operations.oldest_answered() } else { None };
        if let Some(oldest) = oldest {
            self.close(oldest);
        }
        let operations = &mut self.operations;
        let open = operations.open.len();
        if open >= DHT_OPERATIONS_MAX || operations.bytes + bytes > DHT_OPERATION_BYTES_MAX {
            return Err(AskError::Busy { open });
        }
        operations.next += 1;
        operations.bytes += bytes;
        let number = operations.next;
        if let Origin::Client(request) = origin {
            operations.requests.insert(request, number);
        }
        operations.timers.insert((until, number));
        let quorum = quorum.unwrap_or(owners / 2 + 1);
        let operation = Operation {
            origin: Some(origin),
            work,
            id,
            began: self.now,
            until,
            ranking,
            owners,
            quorum,
            asked: Vec::new(),
            round: 0,
            close_at: None,
            bytes,
        };
        operations.open.insert(number, operation);
        self.ask_owners(number);
        self.go_on(number);
        Ok(())
    }

    /// What this node has last seen of a cell.
    fn known(&self, id: &Id) -> Cell {
        let held = self.store.newest(id, self.wall()).and_then(|held| held.cell());
        held.or(self.seen.cell(id)).cloned().unwrap_or_default()
    }

    fn plan_put(&mut self, key: &Key, edit: Edit, expires: Option<WallTime>) -> Result<Work, AskError> {
        let id = RecordKey::Cell(key.clone()).id();
        let known = self.known(&id);
        // An element that is in there already is confirmed rather than added twice.
        let is_unseen = known.context().is_empty();
        if matches!(edit, Edit::Delete | Edit::Remove(_)) || is_unseen && matches!(edit, Edit::Add(_)) {
            let key = RecordKey::Cell(key.clone());
            return Ok(Work::Get { key, then: Some((edit, expires)), found: None });
        }
        let record = self.write(key, &known, &edit, expires)?;
        let again = matches!(edit, Edit::Set(_)).then_some((edit, expires));
        Ok(Work::Put(Put { record, again, beside: Cell::new() }))
    }

    /// A new write of `edit` on a cell that looks like `known`.
    pub(crate) fn write(
        &mut self,
        key: &Key,
        known: &Cell,
        edit: &Edit,
        expires: Option<WallTime>,
    ) -> Result<Record, AskError> {
        let id = RecordKey::Cell(key.clone()).id();
        let wall = self.wall();
        if let Some(latest) = known.latest() {
            self.hlc.observe(latest, wall);
        }
        let dot = Dot::new(self.replica, self.seen.next_counter(&id));
        let change = known.plan(edit, dot, self.hlc.tick(wall), expires)?;
        let record = Record::cell(key.clone(), change.clone(), self.me, wall).validate(wall)?.into_record();
        if change.context().contains(dot) {
            self.seen.used(&id);
        }
        let mut seen = known.clone();
        if seen.join(&change).is_ok() {
            self.seen.note(id, &seen);
        }
        Ok(record)
    }

    /// The first questions of a round.
    pub(crate) fn ask_owners(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        let is_blob = matches!(&operation.work, Work::Get { key: RecordKey::Blob(_), .. });
        let first = match &operation.work {
            // One is enough. The others follow if it has nothing, or is late.
            Work::Get { .. } if is_blob => 1,
            Work::Find { .. } => operation.to_find(),
            Work::Get { .. } | Work::Put(_) => operation.owners,
        };
        if is_blob {
            let order = self.nearest_first(&operation.ranking[..operation.owners]);
            if let Some(operation) = self.operations.open.get_mut(&number) {
                operation.ranking[..order.len()].clone_from_slice(&order);
            }
        }
        for _ in 0..first {
            self.ask_next(number);
        }
    }

    /// Owners in the order in which a blob is asked for: this node, then by their round trips.
    fn nearest_first(&self, owners: &[NodeId]) -> Vec<NodeId> {
        let mut order = owners.to_vec();
        let trip = |node: &NodeId| self.peers.get(node).and_then(|peer| peer.gets.smoothed());
        order.sort_by_key(|node| {
            (*node != self.me, !self.peers.contains_key(node), trip(node).unwrap_or(Duration::MAX))
        });
        order
    }

    /// Asks the next member in the ranking; then another one, if that one is not to be reached or is in doubt.
    pub(crate) fn ask_next(&mut self, number: u64) -> bool {
        let Some(operation) = self.operations.open.get(&number) else { return false };
        let next = operation.this_round().len();
        let beyond = match &operation.work {
            Work::Find { .. } => FIND_BEYOND,
            Work::Get { .. } | Work::Put(_) => STAND_INS_MAX,
        };
        if next >= operation.ranking.len().min(operation.owners + beyond) {
            return false;
        }
        let node = operation.ranking[next];
        let in_doubt = self.members.get(&node).is_some_and(|member| member.suspect);
        let reached = self.ask_one(number, node);
        let is_find =
            self.operations.open.get(&number).is_some_and(|op| matches!(op.work, Work::Find { .. }));
        if (!reached || in_doubt) && !is_find {
            self.ask_next(number);
        }
        true
    }

    /// Asks one member. False if there is no way to it.
    fn ask_one(&mut self, number: u64, node: NodeId) -> bool {
        let question = self.question();
        let (now, me) = (self.now, self.me);
        let Some(operation) = self.operations.open.get_mut(&number) else { return false };
        let rank = operation.rank(&node, &self.placement);
        let timeout = self.peers.get(&node).map(|peer| match operation.is_put() {
            true => peer.puts.timeout(),
            false => peer.gets.timeout(),
        });
        let reachable = node == me || timeout.is_some();
        let verdict = if reachable { Verdict::Waiting } else { Verdict::Unreachable };
        let shown = Asked { node, rank, after: now.since(operation.began), took: None, verdict };
        let late_at = now + timeout.unwrap_or(LINGER);
        let asks = reachable && node != me;
        operation.asked.push(Inquiry {
            shown,
            at: now,
            late_at,
            question: asks.then_some(question),
            holds: None,
        });
        let asked = operation.asked.len() - 1;
        let id = operation.id;
        let message = operation.work.question(question);
        if asks {
            self.operations.questions.insert(question, (number, asked));
            self.operations.timers.insert((late_at, number));
            self.send(node, message);
        } else if node != me {
            self.reach(node);
        } else {
            self.ask_ourselves(number, asked, id, message);
        }
        reachable
    }

    /// A member that could not be reached is here now: it is asked, if it still matters what it says.
    pub(crate) fn ask_again(&mut self, peer: NodeId) {
        let waiting = self.operations.open.iter().filter(|(_, operation)| operation.close_at.is_none());
        let waiting = waiting.filter_map(|(number, operation)| {
            let is_it = |one: &Inquiry| one.shown.node == peer && one.shown.verdict == Verdict::Unreachable;
            Some((*number, operation.round + operation.this_round().iter().position(is_it)?))
        });
        for (number, asked) in waiting.collect::<Vec<_>>() {
            self.ask_one_again(number, asked);
        }
    }

    /// Asks those of an operation again whose lane was full.
    pub(crate) fn ask_the_refused(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        let one = |(_, one): &(usize, &Inquiry)| {
            one.shown.verdict == Verdict::Unreachable && self.peers.contains_key(&one.shown.node)
        };
        let refused = operation.asked.iter().enumerate().skip(operation.round).filter(one);
        for asked in refused.map(|(asked, _)| asked).collect::<Vec<_>>() {
            self.ask_one_again(number, asked);
        }
    }

    fn ask_one_again(&mut self, number: u64, asked: usize) {
        let now = self.now;
        let question = self.question();
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let node = operation.asked[asked].shown.node;
        let Some(known) = self.peers.get(&node) else { return };
        let timeout = if operation.is_put() { known.puts.timeout() } else { known.gets.timeout() };
        let one = &mut operation.asked[asked];
        one.shown.verdict = Verdict::Waiting;
        one.shown.after = now.since(operation.began);
        (one.at, one.late_at, one.question) = (now, now + timeout, Some(question));
        self.operations.timers.insert((one.late_at, number));
        self.operations.questions.insert(question, (number, asked));
        let message = operation.work.question(question);
        self.send(node, message);
    }

    fn ask_ourselves(&mut self, number: u64, asked: usize, id: Id, message: Message) {
        match message {
            Message::Put { record, .. } => {
                let change = match &record.content {
                    Content::Cell(cell) => Some(cell.clone()),
                    Content::Blob(_) => None,
                };
                match record.validate(self.wall()) {
                    Ok(record) => self.stage(record, Waiter::Own { operation: number, asked, change }),
                    Err(why) => {
                        let why = Refusal::Record(Text::new(why.to_string()));
                        self.answered(number, asked, Answer::Stored(Stored::Refused(why)));
                    }
                }
            }
            Message::Get { want, .. } => match self.look_up(&id, want) {
                Ok(found) => self.answered(number, asked, Answer::Got(found)),
                Err(()) if self.loads.len() >= LOADS_MAX => {
                    self.answered(number, asked, Answer::Got(Found::Refused(Refusal::Busy)));
                }
                Err(()) => self.load(id, Load::Own { operation: number, asked, id }),
            },
            _ => {}
        }
    }
}
