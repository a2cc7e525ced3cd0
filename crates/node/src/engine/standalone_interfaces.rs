// SPDX-License-Identifier: Apache-2.0
//! Interfaces that no task has: standalone ones, each in a namespace of its own, and the host's primary one, in the
//! host's namespace. One actor for each.
//!
//! All holders are alike here: the namespace and the interface in it are made, and removed when they are not wanted any
//! more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_types::EniId;
use berth_types::intent::{EniIntent, Holder, HostIntent, Plug, Standalone};
use berth_types::report::EniState;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::host::NodeHost;
use crate::backoff::Backoff;
use crate::fault::all_of;
use crate::journal::{self, Journal};
use crate::{Fault, Step};

/// Pauses between tries to remove an interface.
const CLOSE_AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };

/// An interface in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StandaloneRecord {
    eni: EniId,
    /// Absent for the host's primary interface, which is in the host's namespace.
    #[serde(rename = "name", default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Absent for `berth shell`, the only holder in version 0.1.0.
    #[serde(default, skip_serializing_if = "is_shell")]
    holder: Holder,
    /// It may be incomplete, and it has not been reported.
    #[serde(default)]
    is_opening: bool,
}

fn is_shell(holder: &Holder) -> bool {
    *holder == Holder::Shell
}

/// Interfaces in the journal, each with its namespace; the host's primary one has none.
pub(crate) fn journaled(journal: &Journal) -> Result<Vec<(EniId, Option<String>)>, Fault> {
    let records = journal.all::<StandaloneRecord>(journal::STANDALONE)?;
    Ok(records.into_iter().map(|(_, record)| (record.eni, record.namespace)).collect())
}

/// The standalone interfaces of this host: what the server wants of each.
pub(super) struct StandaloneInterfaces {
    host: Arc<NodeHost>,
    wanted: Mutex<BTreeMap<EniId, watch::Sender<Option<EniIntent>>>>,
}

impl StandaloneInterfaces {
    pub fn new(host: Arc<NodeHost>) -> Self {
        Self { host, wanted: Mutex::default() }
    }

    /// True if this is one of them.
    pub fn holds(&self, eni: &EniId) -> bool {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).contains_key(eni)
    }

    /// Takes over the interfaces that an earlier node has made, before the first report to the server. An incomplete one
    /// is removed: if it is still wanted, the next intent names it and it is made again.
    pub async fn adopt(self: &Arc<Self>) -> Result<(), Fault> {
        for (_, record) in self.host.journal.all::<StandaloneRecord>(journal::STANDALONE)? {
            match record.is_opening {
                true => match self.close(&record).await {
                    Ok(()) => tracing::info!(eni = %record.eni, "removed an incomplete interface"),
                    Err(fault) => {
                        tracing::error!(eni = %record.eni, %fault, "could not remove an incomplete interface yet");
                        self.spawn(record, None);
                    }
                },
                false => {
                    self.host.reports.eni(&record.eni, EniState::Attached);
                    self.spawn(record, None);
                }
            }
        }
        Ok(())
    }

    /// Opens interfaces that are new and closes those that are not wanted any more.
    pub fn dispatch(self: &Arc<Self>, intent: &HostIntent) {
        for (eni, wanted) in &intent.enis {
            let (namespace, holder) = match &wanted.plug {
                Plug::Standalone(Standalone { namespace, holder }) => (Some(namespace.clone()), holder.clone()),
                Plug::Host => (None, Holder::default()),
                Plug::InPlace(_) | Plug::HostFirst(_) => continue,
            };
            let known = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).get(eni).cloned();
            match known {
                Some(sender) => drop(sender.send_replace(Some(wanted.clone()))),
                None => {
                    let record = StandaloneRecord { eni: eni.clone(), namespace, holder, is_opening: true };
                    self.spawn(record, Some(wanted.clone()));
                }
            }
        }
        let known = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, sender) in known.iter().filter(|(eni, _)| !intent.enis.contains_key(*eni)) {
            sender.send_replace(None);
        }
    }

    fn spawn(self: &Arc<Self>, record: StandaloneRecord, wanted: Option<EniIntent>) {
        let is_adopted = wanted.is_none();
        let sender = watch::Sender::new(wanted);
        let mut wants = sender.subscribe();
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(record.eni.clone(), sender);
        let interfaces = self.clone();
        tokio::spawn(async move {
            if is_adopted && wants.changed().await.is_err() {
                return;
            }
            interfaces.keep(&record, wants).await;
            interfaces.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&record.eni);
            interfaces.host.reports.forget_eni(&record.eni);
        });
    }

    async fn keep(&self, record: &StandaloneRecord, mut wants: watch::Receiver<Option<EniIntent>>) {
        let wanted = wants.borrow_and_update().clone();
        if let Some(wanted) = wanted {
            match self.open(record, &wanted).await {
                Ok(()) => self.host.reports.eni(&record.eni, EniState::Attached),
                Err(fault) => {
                    tracing::error!(eni = %record.eni, holder = ?record.holder, %fault, "could not make the interface");
                    self.host.reports.eni(&record.eni, EniState::Failed(fault.to_string()));
                }
            }
            if wants.wait_for(Option::is_none).await.is_err() {
                return;
            }
        }
        let mut failures = 0;
        while let Err(fault) = self.close(record).await {
            tracing::error!(eni = %record.eni, holder = ?record.holder, %fault, "the interface is not removed yet");
            failures += 1;
            tokio::time::sleep(CLOSE_AGAIN.after(failures)).await;
        }
        self.host.reports.eni(&record.eni, EniState::Gone);
    }

    async fn open(&self, record: &StandaloneRecord, wanted: &EniIntent) -> Result<(), Fault> {
        let host = &self.host;
        if record.is_opening {
            host.journal.put(journal::STANDALONE, record.eni.as_str(), record).await?;
            host.config.pass(Step::SeatNoted);
        }
        match &record.namespace {
            Some(namespace) => {
                host.network.make_namespace(namespace).await?;
                host.config.pass(Step::SeatMade);
                host.network.plug_in_place(&record.eni, wanted, namespace).await?;
            }
            None => host.network.plug_on_host(&record.eni, wanted).await?,
        }
        host.config.pass(Step::SeatPlugged);
        if record.is_opening {
            let open = StandaloneRecord { is_opening: false, ..record.clone() };
            host.journal.put(journal::STANDALONE, record.eni.as_str(), &open).await?;
            host.config.pass(Step::SeatOpenNoted);
        }
        Ok(())
    }

    async fn close(&self, record: &StandaloneRecord) -> Result<(), Fault> {
        let host = &self.host;
        match &record.namespace {
            Some(namespace) => {
                let unplugged = host.network.unplug(&record.eni).await;
                host.config.pass(Step::SeatUnplugged);
                all_of([unplugged, host.network.remove_namespace(namespace, None).await])?;
            }
            None => host.network.unplug_from_host(&record.eni).await?,
        }
        host.config.pass(Step::SeatRemoved);
        host.journal.remove(journal::STANDALONE, record.eni.as_str()).await?;
        host.config.pass(Step::SeatForgotten);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_of_a_shell_keeps_the_form_of_the_first_version() {
        let text = r#"{"eni":"eni-00000000000000001","name":"seat-1","is_opening":true}"#;
        let record = StandaloneRecord {
            eni: EniId::from_bits(1),
            namespace: Some("seat-1".to_owned()),
            holder: Holder::Shell,
            is_opening: true,
        };
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(serde_json::from_str::<StandaloneRecord>(text).unwrap(), record);
        let with_holder = text.replace(r#","is_opening""#, r#","holder":"shell","is_opening""#);
        assert_eq!(serde_json::from_str::<StandaloneRecord>(&with_holder).unwrap(), record);
    }
}
