//! Seats of `berth shell`: an interface in a namespace of its own, without a task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_types::EniId;
use berth_types::intent::{EniIntent, HostIntent, Plug};
use berth_types::report::EniState;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Host;
use crate::fault::all_of;
use crate::journal::{self, Journal};
use crate::{Fault, Step};

/// A seat in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SeatRecord {
    eni: EniId,
    name: String,
    /// It is not whole yet, and nobody was told of it.
    #[serde(default)]
    is_opening: bool,
}

/// Interfaces in the journal, each with its namespace.
pub(crate) fn journaled(journal: &Journal) -> Result<Vec<(EniId, String)>, Fault> {
    let records = journal.all::<SeatRecord>(journal::SEATS)?;
    Ok(records.into_iter().map(|(_, seat)| (seat.eni, seat.name)).collect())
}

/// The seats of this host: what the server wants of each.
#[derive(Default)]
pub(super) struct Seats(Mutex<BTreeMap<EniId, watch::Sender<Option<EniIntent>>>>);

impl Seats {
    pub fn holds(&self, eni: &EniId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(eni)
    }
}

impl Host {
    /// Takes up the seats an earlier node has made, before the server is told what is here. One that was not whole is
    /// taken back: who still wants it says so, and gets it anew.
    pub(super) async fn adopt_seats(self: &Arc<Self>) -> Result<(), Fault> {
        for (_, seat) in self.journal.all::<SeatRecord>(journal::SEATS)? {
            match seat.is_opening {
                true => match self.close_seat(&seat).await {
                    Ok(()) => tracing::info!(eni = %seat.eni, "a seat that was not whole is taken back"),
                    Err(fault) => {
                        tracing::error!(eni = %seat.eni, %fault, "a seat that is not whole stays for now");
                        self.spawn_seat(seat, None);
                    }
                },
                false => {
                    self.reports.eni(&seat.eni, EniState::Attached);
                    self.spawn_seat(seat, None);
                }
            }
        }
        Ok(())
    }

    /// Opens seats that are new and closes those that are not wanted any more.
    pub(super) fn dispatch_seats(self: &Arc<Self>, intent: &HostIntent) {
        for (eni, wanted) in &intent.enis {
            let Plug::Seat(name) = &wanted.plug else { continue };
            let known = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner).get(eni).cloned();
            match known {
                Some(seat) => drop(seat.send_replace(Some(wanted.clone()))),
                None => {
                    let seat = SeatRecord { eni: eni.clone(), name: name.clone(), is_opening: true };
                    self.spawn_seat(seat, Some(wanted.clone()));
                }
            }
        }
        let seats = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, seat) in seats.iter().filter(|(eni, _)| !intent.enis.contains_key(*eni)) {
            seat.send_replace(None);
        }
    }

    fn spawn_seat(self: &Arc<Self>, seat: SeatRecord, wanted: Option<EniIntent>) {
        let is_adopted = wanted.is_none();
        let sender = watch::Sender::new(wanted);
        let mut wants = sender.subscribe();
        self.seats.0.lock().unwrap_or_else(PoisonError::into_inner).insert(seat.eni.clone(), sender);
        let host = self.clone();
        tokio::spawn(async move {
            if is_adopted && wants.changed().await.is_err() {
                return;
            }
            host.keep_seat(&seat, wants).await;
            host.seats.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&seat.eni);
            host.reports.forget_eni(&seat.eni);
        });
    }

    async fn keep_seat(&self, seat: &SeatRecord, mut wants: watch::Receiver<Option<EniIntent>>) {
        let wanted = wants.borrow_and_update().clone();
        if let Some(wanted) = wanted {
            match self.open_seat(seat, &wanted).await {
                Ok(()) => self.reports.eni(&seat.eni, EniState::Attached),
                Err(fault) => {
                    tracing::error!(eni = %seat.eni, %fault, "seat");
                    self.reports.eni(&seat.eni, EniState::Failed(fault.to_string()));
                }
            }
            if wants.wait_for(Option::is_none).await.is_err() {
                return;
            }
        }
        let mut pause = std::time::Duration::from_secs(1);
        while let Err(fault) = self.close_seat(seat).await {
            tracing::error!(eni = %seat.eni, %fault, "seat is not closed yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(std::time::Duration::from_secs(30));
        }
        self.reports.eni(&seat.eni, EniState::Gone);
    }

    async fn open_seat(&self, seat: &SeatRecord, wanted: &EniIntent) -> Result<(), Fault> {
        if seat.is_opening {
            self.journal.put(journal::SEATS, seat.eni.as_str(), seat).await?;
            self.config.pass(Step::SeatNoted);
        }
        self.network.make_namespace(&seat.name).await?;
        self.config.pass(Step::SeatMade);
        self.network.plug_in_place(&seat.eni, wanted, &seat.name).await?;
        self.config.pass(Step::SeatPlugged);
        if seat.is_opening {
            let open = SeatRecord { is_opening: false, ..seat.clone() };
            self.journal.put(journal::SEATS, seat.eni.as_str(), &open).await?;
            self.config.pass(Step::SeatOpenNoted);
        }
        Ok(())
    }

    async fn close_seat(&self, seat: &SeatRecord) -> Result<(), Fault> {
        let unplugged = self.network.unplug(&seat.eni).await;
        self.config.pass(Step::SeatUnplugged);
        all_of([unplugged, self.network.remove_namespace(&seat.name, None).await])?;
        self.config.pass(Step::SeatRemoved);
        self.journal.remove(journal::SEATS, seat.eni.as_str()).await?;
        self.config.pass(Step::SeatForgotten);
        Ok(())
    }
}
