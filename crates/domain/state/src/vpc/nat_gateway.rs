// SPDX-License-Identifier: Apache-2.0
//! Record of a NAT gateway.

use std::net::Ipv4Addr;

use berth_types::intent::Rate;
use berth_types::{
    ElasticIpAssociationId, ElasticIpId, EniAttachmentId, EniId, HostId, NatGatewayId, SubnetId, TimestampMs, VpcId,
};
use serde::{Deserialize, Serialize};

use super::index::Index;
use crate::records::Stored;
use crate::{ClientToken, Tags};

/// A NAT gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Id.
    pub id: NatGatewayId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Whether it has a public address.
    pub connectivity: NatConnectivity,
    /// State.
    pub state: NatGatewayState,
    /// Its private addresses with their public ones, the primary one first. They remain when it is deleted.
    pub addresses: Vec<NatGatewayAddress>,
    /// Id of the attachment that its interface shows.
    pub attachment: EniAttachmentId,
    /// The host that translates, once it is available.
    pub host: Option<HostId>,
    /// Why it cannot become available.
    pub failure: Option<NatGatewayFailure>,
    /// Limit of translated packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Token of CreateNatGateway, for idempotency, with a digest of the request.
    pub client_token: Option<ClientToken>,
    /// Time of creation.
    pub created_at: TimestampMs,
    /// Time from which it is deleted or failed.
    pub ended_at: Option<TimestampMs>,
    /// Tags.
    pub tags: Tags,
}

/// Whether a NAT gateway has a public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatConnectivity {
    /// It has an elastic IP address and leads to the internet.
    Public,
    /// It leads to other networks by its private address.
    Private,
}

/// State of a NAT gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatGatewayState {
    /// Created; no host translates yet.
    Pending,
    /// It could not be made.
    Failed,
    /// Its host translates.
    Available,
    /// Deleted by its user; its interface remains until the next state.
    Deleting,
    /// Deleted; it can be described for some time.
    Deleted,
}

/// An address of a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayAddress {
    /// The interface; absent on a gateway that could not be made.
    pub eni: Option<EniId>,
    /// The private address, if it has an interface.
    pub private: Option<Ipv4Addr>,
    /// The elastic IP address of a public gateway.
    pub elastic: Option<NatElasticIp>,
}

/// The elastic IP address of a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatElasticIp {
    /// Its allocation.
    pub allocation: ElasticIpId,
    /// Its association with the interface, if there was one.
    pub association: Option<ElasticIpAssociationId>,
    /// The public address.
    pub address: Ipv4Addr,
}

/// Why a NAT gateway cannot become available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayFailure {
    /// AWS's code.
    pub code: String,
    /// AWS's message.
    pub message: String,
}

impl NatGateway {
    /// True from its creation to its deletion or failure: a route to it is active.
    pub fn is_live(&self) -> bool {
        match self.state {
            NatGatewayState::Pending => self.failure.is_none(),
            NatGatewayState::Available => true,
            NatGatewayState::Failed | NatGatewayState::Deleting | NatGatewayState::Deleted => false,
        }
    }

    /// Its interface, while it has one.
    pub fn eni(&self) -> Option<&EniId> {
        let has_interface = match self.state {
            NatGatewayState::Pending | NatGatewayState::Available | NatGatewayState::Deleting => true,
            NatGatewayState::Failed | NatGatewayState::Deleted => false,
        };
        self.addresses.first().and_then(|address| address.eni.as_ref()).filter(|_| has_interface)
    }

    /// The host that translates and the interface, while it is available.
    pub fn serving(&self) -> Option<(&HostId, &EniId)> {
        let is_available = self.state == NatGatewayState::Available;
        self.host.as_ref().zip(self.eni()).filter(|_| is_available)
    }
}

impl Stored for NatGateway {
    type Key = NatGatewayId;
    type Index = Index;
    fn key(&self) -> NatGatewayId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        match self.state {
            NatGatewayState::Pending | NatGatewayState::Deleting => {
                index.unsettled_nat_gateways.insert(self.id.clone());
            }
            NatGatewayState::Failed | NatGatewayState::Available | NatGatewayState::Deleted => {}
        }
        if let Some(ended_at) = self.ended_at {
            index.ended_nat_gateways.insert((ended_at, self.id.clone()));
        }
        if let Some((host, eni)) = self.serving() {
            index.host_vpc_enis.insert((host.clone(), self.vpc.clone(), eni.clone()));
        }
        if let Some(ClientToken(token, _)) = &self.client_token {
            index.nat_gateway_tokens.insert(token.clone(), self.id.clone());
        }
    }
    fn unindex(&self, index: &mut Index) {
        index.unsettled_nat_gateways.remove(&self.id);
        if let Some(ended_at) = self.ended_at {
            index.ended_nat_gateways.remove(&(ended_at, self.id.clone()));
        }
        if let Some((host, eni)) = self.serving() {
            index.host_vpc_enis.remove(&(host.clone(), self.vpc.clone(), eni.clone()));
        }
        if let Some(ClientToken(token, _)) = &self.client_token {
            index.nat_gateway_tokens.remove(token);
        }
    }
}
