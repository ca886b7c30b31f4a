//! What a client asks for, from the first question to the last answer.
//!
//! An operation asks the owners, all at once or, for a blob, one after the other. Each that does not answer within its RTO,
//! that is suspected or cannot be reached, has the next member in the ranking asked beside it. The client is answered as
//! soon as the quorum is there; the operation stays open a little for the rest, so that a read can repair the owners
//! that hold less.
//!
//! # A put of a cell in one round trip
//! A put says which values it takes the place of, and so it has to have seen them. It uses what this node holds as an owner, or saw
//! last. Where owners answer that beside it there is an older value, which it had not seen, it is put once more as a *new*
//! write that has seen it. So a put of a new key, or of one that this node has seen, takes one round trip, and any other takes
//! two. What was put within a quarter of a second after it began, by the writers' clocks, is not replaced: both are kept. A delete or a removal has to know what there
//! is, and reads first.

use crate::cell::{Cell, Edit};
use crate::distance::Id;
use crate::io::{Asked, RequestId, Verdict};
use crate::message::{Found, Message, Question, Stored, Want};
use crate::placement::Placement;
use crate::record::{Record, RecordKey};
use chinwag_base::{Moment, NodeId, WallTime};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long an operation waits for the owners that are late, after its client has been answered.
pub(crate) const LINGER: Duration = Duration::from_secs(3);

/// Who wants the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client.
    Client(RequestId),
    /// A damaged blob of our own that was to be kept until then.
    Repair(Option<WallTime>),
}

/// The operations that are open.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    pub(crate) open: BTreeMap<u64, Operation>,
    pub(crate) requests: BTreeMap<RequestId, u64>,
    pub(crate) questions: BTreeMap<Question, (u64, usize)>,
    pub(crate) timers: BTreeSet<(Moment, u64)>,
    /// Answered ones that wait for the late, the oldest first; some may be closed already.
    pub(crate) answered: VecDeque<u64>,
    pub(crate) next: u64,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Operation {
    /// Who still waits for the outcome.
    pub(crate) origin: Option<Origin>,
    pub(crate) work: Work,
    pub(crate) id: Id,
    pub(crate) began: Moment,
    pub(crate) until: Moment,
    /// All members that may be asked, nearest first.
    pub(crate) ranking: Vec<NodeId>,
    pub(crate) owners: usize,
    pub(crate) quorum: usize,
    pub(crate) asked: Vec<Inquiry>,
    /// The first of `asked` that belongs to this round.
    pub(crate) round: usize,
    /// After the client was answered: when to close.
    pub(crate) close_at: Option<Moment>,
    pub(crate) bytes: usize,
}

/// What is being done.
#[derive(Debug)]
pub(crate) enum Work {
    Put(Put),
    Get {
        key: RecordKey,
        /// What to do once it is known what there is.
        then: Option<(Edit, Option<WallTime>)>,
        found: Option<Record>,
    },
    Find {
        key: RecordKey,
    },
}

#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) record: Record,
    /// For a put of a register that may have to be put again: its value and its end.
    pub(crate) again: Option<(Edit, Option<WallTime>)>,
    /// What was there beside it.
    pub(crate) beside: Cell,
}

/// One member that was asked.
#[derive(Debug)]
pub(crate) struct Inquiry {
    pub(crate) shown: Asked,
    pub(crate) at: Moment,
    pub(crate) late_at: Moment,
    pub(crate) question: Option<Question>,
    /// What it holds.
    pub(crate) holds: Option<Holds>,
}

/// What a member that was asked holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Holds {
    Nothing,
    Cell(Cell),
    Blob,
}

/// What a member answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Stored(Stored),
    Got(Found),
}

impl Operations {
    pub(crate) fn open(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The operation that has been answered for longest and is still open.
    pub(crate) fn oldest_answered(&mut self) -> Option<u64> {
        while let Some(number) = self.answered.pop_front() {
            if self.open.contains_key(&number) {
                return Some(number);
            }
        }
        None
    }

    /// The client is gone: the operation goes on, because owners may hold it already, but nobody is told.
    pub(crate) fn cancel(&mut self, request: RequestId) {
        if let Some(operation) = self.requests.remove(&request).and_then(|number| self.open.get_mut(&number))
        {
            operation.origin = None;
        }
    }
}

impl Work {
    /// What those who are asked are sent.
    pub(crate) fn question(&self, question: Question) -> Message {
        match self {
            Work::Put(put) => Message::Put { question, record: put.record.clone(), passed_on: false },
            Work::Get { key, .. } => Message::Get { question, key: key.clone(), want: Want::Whole },
            Work::Find { key } => Message::Get { question, key: key.clone(), want: Want::Digest },
        }
    }
}

impl Operation {
    pub(crate) fn this_round(&self) -> &[Inquiry] {
        &self.asked[self.round..]
    }

    pub(crate) fn with(&self, verdict: impl Fn(&Verdict) -> bool) -> usize {
        self.this_round().iter().filter(|asked| verdict(&asked.shown.verdict)).count()
    }

    /// Members that have said what they hold.
    pub(crate) fn answers(&self) -> usize {
        self.this_round().iter().filter(|asked| asked.holds.is_some()).count()
    }

    /// Answers that count towards the quorum of a read. A stand-in that has nothing says only that no put needed it: if it
    /// counted, owners that are late, or out of reach, could be outvoted by members that were never sent anything.
    pub(crate) fn votes(&self) -> usize {
        let counts = |asked: &&Inquiry| match &asked.holds {
            None => false,
            Some(Holds::Nothing) => asked.shown.rank < self.owners,
            Some(Holds::Cell(_) | Holds::Blob) => true,
        };
        self.this_round().iter().filter(counts).count()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.with(|verdict| *verdict == Verdict::Waiting) > 0
    }

    /// Whether some that were asked in this round may still answer, in time or late.
    pub(crate) fn may_answer(&self) -> bool {
        self.this_round()
            .iter()
            .any(|asked| asked.question.is_some() || asked.shown.verdict == Verdict::Waiting)
    }

    pub(crate) fn is_put(&self) -> bool {
        matches!(self.work, Work::Put(_))
    }

    /// A blob's owners are asked in another order than that of the ranking.
    pub(crate) fn rank(&self, node: &NodeId, placement: &Placement) -> usize {
        placement.rank(&self.id, node).unwrap_or(self.ranking.len())
    }
}
