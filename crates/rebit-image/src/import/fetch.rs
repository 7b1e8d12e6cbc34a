//! Blobs that are fetched side by side, ahead of the layer that is applied.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rebit_oci::{Digest, ObjectId};
use rebit_store::Session;

use super::Layer;
use crate::ImageError;
use crate::transport::Source;

/// The layers' blobs, fetched in their order by whoever has time.
pub(super) struct Fetched<'a> {
    pub(super) session: &'a Session,
    pub(super) source: &'a dyn Source,
    /// Layers whose blobs the store lacks and that are fetched ahead, each blob once.
    missing: Vec<&'a Layer<'a>>,
    states: Mutex<BTreeMap<Digest, State>>,
    changed: Condvar,
    /// A blob could not be got: no further one is begun, and those that are on their way are let come.
    failed: AtomicBool,
    stopped: AtomicBool,
}

enum State {
    /// Nobody has it yet.
    Waiting,
    /// Somebody fetches it.
    Taken,
    /// It is in the session, or it could not be got.
    Done(Result<ObjectId, ImageError>),
}

impl<'a> Fetched<'a> {
    /// `first` blobs are left to whoever applies them.
    pub(super) fn new(
        session: &'a Session,
        source: &'a dyn Source,
        layers: &'a [Layer<'a>],
        first: usize,
    ) -> Result<Self, ImageError> {
        let (mut missing, mut states) = (Vec::new(), BTreeMap::new());
        for layer in layers {
            if layer.stored(session)?.is_none() && states.insert(layer.digest, State::Waiting).is_none() {
                missing.push(layer);
            }
        }
        missing.drain(..first.min(missing.len()));
        let (changed, failed, stopped) = (Condvar::new(), AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { session, source, missing, states: Mutex::new(states), changed, failed, stopped })
    }

    /// How many blobs there are to fetch ahead.
    pub(super) fn len(&self) -> usize {
        self.missing.len()
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Digest, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches blobs until there is none left, or one fails.
    pub(super) fn work(&self) {
        for layer in &self.missing {
            {
                let mut states = self.states();
                match states.get_mut(&layer.digest) {
                    Some(state @ State::Waiting) if !self.is_over() => *state = State::Taken,
                    _ => continue,
                }
            }
            let reader = self.source.open(&layer.digest, layer.descriptor.size());
            let got = reader.and_then(|reader| {
                let mut reader = Stoppable { reader, fetched: self };
                layer.keep(self.session, &mut reader)
            });
            if got.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.states().insert(layer.digest, State::Done(got));
            self.changed.notify_all();
        }
    }

    /// The object of a layer's blob when it is in the session, after waiting for it; `None` when the caller is to get it.
    pub(super) fn claim(&self, layer: &Layer<'_>) -> Result<Option<ObjectId>, ImageError> {
        let mut states = self.states();
        loop {
            match states.get(&layer.digest) {
                Some(State::Waiting) => {
                    // What another one failed at is the reason why nobody fetched this.
                    if let Some(error) = self.is_over().then(|| failure(&mut states)).flatten() {
                        return Err(error);
                    }
                    if let Some(state) = states.get_mut(&layer.digest) {
                        *state = State::Taken;
                    }
                    return Ok(None);
                }
                Some(State::Taken) if layer.stored(self.session)?.is_some() => {
                    return layer.stored(self.session);
                }
                Some(State::Taken) => {
                    states = self.changed.wait(states).unwrap_or_else(PoisonError::into_inner);
                }
                Some(State::Done(Ok(object))) => return Ok(Some(*object)),
                Some(State::Done(Err(_))) => {
                    let failed = failure(&mut states);
                    return failed.map_or_else(|| layer.stored(self.session), Err);
                }
                None => return layer.stored(self.session),
            }
        }
    }

    /// Makes everybody stop.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether no further blob is begun.
    fn is_over(&self) -> bool {
        self.is_stopped() || self.failed.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Takes the first failure out that is not the mere wish to stop.
fn failure(states: &mut BTreeMap<Digest, State>) -> Option<ImageError> {
    let failed = |state: &&mut State| matches!(state, State::Done(Err(_)));
    let mut found = None;
    for state in states.values_mut().filter(failed) {
        if let State::Done(Err(error)) = std::mem::replace(state, State::Waiting)
            && (found.is_none() || found.as_ref().is_some_and(is_stop))
        {
            found = Some(error);
        }
    }
    found
}

#[derive(Debug, thiserror::Error)]
#[error("another layer could not be got")]
struct Stopped;

fn is_stop(error: &ImageError) -> bool {
    matches!(error, ImageError::BlobIo { source, .. } if source.get_ref().is_some_and(|inner| inner.is::<Stopped>()))
}

/// A reader that ends when everybody is to stop.
struct Stoppable<'a, R> {
    reader: R,
    fetched: &'a Fetched<'a>,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fetched.is_stopped() {
            return Err(io::Error::other(Stopped));
        }
        self.reader.read(buffer)
    }
}
