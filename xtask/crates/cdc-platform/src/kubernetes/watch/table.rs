//! What a watch has seen: the objects of one kind in one place, as the last events left them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kube::core::{DynamicObject, TypeMeta};
use kube::runtime::watcher::{self, Event};

use crate::readiness::Status;

/// What one watch holds.
#[derive(Default)]
pub(super) struct Table(RwLock<Content>);

#[derive(Default)]
pub(super) struct Content {
    pub(super) objects: HashMap<String, Arc<DynamicObject>>,
    /// The list that is being read, until it is complete.
    next: HashMap<String, Arc<DynamicObject>>,
    pub(super) listed: bool,
    pub(super) trouble: Option<Refusal>,
}

/// Why a watch shows nothing.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) message: String,
}

impl Refusal {
    /// What it means for who waits.
    pub(super) fn status(&self) -> Status {
        match self.code {
            // Permissions are not given by waiting.
            403 => Status::failed(format!("may not watch: {}", self.message)),
            _ => Status::unknown(format!("cannot watch: {}", self.message)),
        }
    }
}

impl Table {
    pub(super) fn read<T>(&self, look: impl FnOnce(&Content) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn write(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn all(&self) -> Vec<Arc<DynamicObject>> {
        self.read(|content| content.objects.values().cloned().collect())
    }
}

impl Content {
    pub(super) fn take(&mut self, event: watcher::Result<Event<DynamicObject>>, types: &TypeMeta) {
        let keyed = |mut object: DynamicObject| {
            // The items of a list of built-in objects do not say what they are.
            object.types.get_or_insert_with(|| types.clone());
            for entry in object.metadata.managed_fields.iter_mut().flatten() {
                // Half of an object's size, and nobody asks for it.
                entry.fields_v1 = None;
            }
            let name = object.metadata.name.clone().unwrap_or_default();
            (name, Arc::new(object))
        };
        match event {
            Err(error) => {
                self.next.clear();
                self.trouble = Some(refusal(&error));
                return;
            }
            Ok(Event::Init) => {}
            Ok(Event::InitApply(object)) => self.next.extend([keyed(object)]),
            Ok(Event::InitDone) => {
                self.objects = std::mem::take(&mut self.next);
                self.listed = true;
            }
            Ok(Event::Apply(object)) => self.objects.extend([keyed(object)]),
            Ok(Event::Delete(object)) => {
                self.objects.remove(&keyed(object).0);
            }
        }
        self.trouble = None;
    }
}

pub(super) fn refusal(error: &watcher::Error) -> Refusal {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status),
        watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    Refusal {
        code: status.map_or(0, |status| status.code),
        message: match status {
            Some(status) => status.message.clone(),
            None => crate::error::reason(error),
        },
    }
}
