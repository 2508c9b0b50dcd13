//! Jobs: those that wait, those that run, and what became of the others.
//!
//! A job's id is a digest of all that its result depends on. So the same question is worked on once, however many
//! ask, and its answer is found again by the id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uio_verifier::certificate::Digest;

use super::cache::Cache;
use super::config::Limits;
use crate::lock;
use crate::worker::{Job, JobError, Outcome};

/// Names a job.
pub(super) type JobId = Digest;

/// Where a job is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Queued,
    Running,
    Done(Arc<Outcome>),
}

/// Why a job is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Stopping,
}

pub(super) struct Jobs {
    state: Mutex<State>,
    /// Rung when there is work, and when there will be none.
    work: Condvar,
    /// Rung when a job is done.
    done: Condvar,
    queue_max: usize,
}

struct State {
    queue: VecDeque<JobId>,
    /// Jobs that wait (with what to do) or run.
    active: HashMap<JobId, Option<Arc<Job>>>,
    results: Cache<JobId, Arc<Outcome>>,
    stopping: bool,
}

/// What the queue and the results are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) results: usize,
    pub(super) result_bytes: usize,
}

/// The id of `job`.
pub(super) fn id(job: &Job) -> JobId {
    let Job { name, file, engines, max_steps, fuel, states, memory_bytes: _, seconds: _ } = job;
    // Texts without a zero, each ended by one.
    let mut text = format!("{name}\0{engines}\0{max_steps}\0{fuel}\0{states}\0").into_bytes();
    text.extend_from_slice(&Digest::of(file).0);
    Digest::of(&text)
}

impl Jobs {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                active: HashMap::new(),
                results: Cache::new(limits.results, limits.result_bytes),
                stopping: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
            queue_max: limits.queue,
        }
    }

    /// Takes a job, unless the same is known already. Its id, and whether the answer was there.
    ///
    /// A failure is no answer: it may have been the machine's, so the job is done again.
    pub(super) fn submit(&self, job: Job) -> Result<(JobId, bool), Refused> {
        let id = id(&job);
        let mut state = lock(&self.state);
        if state.results.get(&id).is_some_and(|outcome| !may_change(outcome)) {
            return Ok((id, true));
        }
        if state.stopping {
            return Err(Refused::Stopping);
        }
        if state.active.contains_key(&id) {
            return Ok((id, false));
        }
        if state.queue.len() >= self.queue_max {
            return Err(Refused::Full);
        }
        state.results.remove(&id);
        state.active.insert(id, Some(Arc::new(job)));
        state.queue.push_back(id);
        drop(state);
        self.work.notify_one();
        Ok((id, false))
    }

    /// Where a job is; `None` if it is not known, or no longer.
    pub(super) fn look(&self, id: JobId) -> Option<Phase> {
        phase(&mut lock(&self.state), id)
    }

    /// Waits until a job is done, or `patience` is over. Where it is then.
    pub(super) fn wait(&self, id: JobId, patience: Duration) -> Option<Phase> {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.state);
        loop {
            let phase = phase(&mut state, id);
            let left = deadline.saturating_duration_since(Instant::now());
            if matches!(phase, None | Some(Phase::Done(_))) || left.is_zero() {
                return phase;
            }
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next job for a worker; waits for one. `None` when the service stops.
    pub(super) fn take(&self) -> Option<(JobId, Arc<Job>)> {
        let mut state = lock(&self.state);
        loop {
            if state.stopping {
                return None;
            }
            if let Some(id) = state.queue.pop_front()
                && let Some(job) = state.active.get_mut(&id).and_then(Option::take)
            {
                return Some((id, job));
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker is through with a job.
    pub(super) fn finish(&self, id: JobId, outcome: Outcome) {
        let mut state = lock(&self.state);
        state.settle(id, outcome);
        drop(state);
        self.done.notify_all();
    }

    /// Takes no more jobs and gives up those that wait; those that run go on.
    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopping = true;
        while let Some(id) = state.queue.pop_front() {
            state.settle(id, Err(JobError::Stopping));
        }
        drop(state);
        self.work.notify_all();
        self.done.notify_all();
    }

    pub(super) fn levels(&self) -> Levels {
        let state = lock(&self.state);
        Levels {
            queued: state.queue.len(),
            running: state.active.len() - state.queue.len(),
            results: state.results.len(),
            result_bytes: state.results.bytes(),
        }
    }
}

impl State {
    fn settle(&mut self, id: JobId, outcome: Outcome) {
        self.active.remove(&id);
        let bytes = weight(&outcome);
        self.results.insert(id, Arc::new(outcome), bytes);
    }
}

fn phase(state: &mut State, id: JobId) -> Option<Phase> {
    match state.active.get(&id) {
        Some(Some(_)) => Some(Phase::Queued),
        Some(None) => Some(Phase::Running),
        None => state.results.get(&id).map(|outcome| Phase::Done(Arc::clone(outcome))),
    }
}

/// Whether trying again may give another outcome.
fn may_change(outcome: &Outcome) -> bool {
    match outcome {
        Ok(_) | Err(JobError::UnreadableObject { .. }) => false,
        Err(
            JobError::OutOfTime { .. }
            | JobError::Died { .. }
            | JobError::NotStarted { .. }
            | JobError::Stopping,
        ) => true,
    }
}

/// About how many bytes an outcome takes.
fn weight(outcome: &Outcome) -> usize {
    /// What an entry takes besides its texts.
    const BASE: usize = 1024;
    let Ok(verification) = outcome else { return BASE };
    let loadable = verification
        .loadable
        .as_ref()
        .map_or(0, |loadable| loadable.object.len() + loadable.proofs.iter().map(Vec::len).sum::<usize>());
    let texts: usize = verification
        .report
        .programs
        .iter()
        .flat_map(|program| &program.judgements)
        .map(|judgement| {
            let states: usize = judgement.states.iter().map(|(_, state)| 32 + state.len()).sum();
            let rejected = judgement.rejected.as_ref();
            BASE + states
                + rejected.map_or(0, |it| it.reason.len() + it.rendered.as_ref().map_or(0, String::len))
        })
        .sum();
    BASE + loadable + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> Job {
        Job {
            name: name.into(),
            file: b"file".to_vec(),
            engines: "uio".into(),
            max_steps: 1,
            fuel: true,
            states: false,
            memory_bytes: 1,
            seconds: 1,
        }
    }

    fn jobs(queue: usize) -> Jobs {
        Jobs::new(&Limits { queue, ..Limits::default() })
    }

    fn unreadable() -> Outcome {
        Err(JobError::UnreadableObject { message: "no".into(), suggestion: String::new() })
    }

    #[test]
    fn the_same_job_is_done_once() {
        let jobs = jobs(10);
        let (id, known) = jobs.submit(job("a")).expect("room");
        assert!(!known);
        assert_eq!(jobs.submit(job("a")), Ok((id, false)), "it waits");
        assert_eq!(jobs.levels().queued, 1);
        let (taken, _) = jobs.take().expect("work");
        assert_eq!(taken, id);
        assert_eq!(jobs.submit(job("a")), Ok((id, false)), "it runs");
        assert!(matches!(jobs.look(id), Some(Phase::Running)));
        jobs.finish(id, unreadable());
        assert_eq!(jobs.submit(job("a")), Ok((id, true)), "it is done");
        assert!(matches!(jobs.wait(id, Duration::ZERO), Some(Phase::Done(_))));
        assert_ne!(jobs.submit(job("b")), Ok((id, true)));
    }

    #[test]
    fn everything_that_matters_is_in_the_id() {
        let base = job("a");
        let others = [
            job("b"),
            Job { file: b"other".to_vec(), ..base.clone() },
            Job { engines: "prevail".into(), ..base.clone() },
            Job { max_steps: 2, ..base.clone() },
            Job { fuel: false, ..base.clone() },
            Job { states: true, ..base.clone() },
        ];
        for other in &others {
            assert_ne!(id(&base), id(other));
        }
        assert_eq!(id(&base), id(&Job { seconds: 9, memory_bytes: 9, ..base }));
    }

    #[test]
    fn failures_are_shown_but_tried_again() {
        let jobs = jobs(10);
        let (id, _) = jobs.submit(job("a")).expect("room");
        jobs.take().expect("work");
        jobs.finish(id, Err(JobError::OutOfTime { limit_ms: 1 }));
        assert!(matches!(jobs.look(id), Some(Phase::Done(_))));
        assert_eq!(jobs.submit(job("a")), Ok((id, false)));
        assert!(matches!(jobs.look(id), Some(Phase::Queued)));
    }

    #[test]
    fn a_full_queue_refuses() {
        let jobs = jobs(1);
        jobs.submit(job("a")).expect("room");
        assert_eq!(jobs.submit(job("b")), Err(Refused::Full));
        jobs.take().expect("work");
        jobs.submit(job("b")).expect("room again");
    }

    #[test]
    fn stopping_gives_up_what_waits() {
        let jobs = jobs(10);
        let (running, _) = jobs.submit(job("a")).expect("room");
        jobs.take().expect("work");
        let (waiting, _) = jobs.submit(job("b")).expect("room");
        jobs.stop();
        assert!(jobs.take().is_none());
        assert_eq!(jobs.submit(job("c")), Err(Refused::Stopping));
        let Some(Phase::Done(outcome)) = jobs.wait(waiting, Duration::ZERO) else { panic!("given up") };
        assert_eq!(*outcome, Err(JobError::Stopping));
        assert!(matches!(jobs.look(running), Some(Phase::Running)));
        jobs.finish(running, unreadable());
        assert!(matches!(jobs.look(running), Some(Phase::Done(_))));
    }
}
