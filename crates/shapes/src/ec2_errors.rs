// SPDX-License-Identifier: Apache-2.0
//! Error codes of Amazon EC2. The service model lists none, so this list is written by hand.

macro_rules! ec2_error_codes {
    ($($name:ident = $code:literal,)*) => {
        /// An error code of Amazon EC2.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Ec2ErrorCode {
            $(#[doc = concat!("`", $code, "`")] $name,)*
        }

        impl Ec2ErrorCode {
            /// Every code.
            pub const ALL: &[Ec2ErrorCode] = &[$(Ec2ErrorCode::$name,)*];

            /// The code as AWS spells it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Ec2ErrorCode::$name => $code,)*
                }
            }
        }
    };
}

impl Ec2ErrorCode {
    /// The HTTP status of the answer.
    pub const fn http_status(self) -> u16 {
        match self {
            Ec2ErrorCode::AuthFailure => 401,
            Ec2ErrorCode::UnauthorizedOperation
            | Ec2ErrorCode::OptInRequired
            | Ec2ErrorCode::Blocked
            | Ec2ErrorCode::InvalidClientTokenId
            | Ec2ErrorCode::MissingAuthenticationToken
            | Ec2ErrorCode::SignatureDoesNotMatch => 403,
            Ec2ErrorCode::DryRunOperation => 412,
            Ec2ErrorCode::InternalError => 500,
            Ec2ErrorCode::RequestLimitExceeded | Ec2ErrorCode::Unavailable => 503,
            _ => 400,
        }
    }
}

ec2_error_codes! {
    // The caller, and the form of the request.
    AuthFailure = "AuthFailure",
    Blocked = "Blocked",
    DryRunOperation = "DryRunOperation",
    IdempotentParameterMismatch = "IdempotentParameterMismatch",
    IncompleteSignature = "IncompleteSignature",
    InternalError = "InternalError",
    InvalidAction = "InvalidAction",
    InvalidClientTokenId = "InvalidClientTokenId",
    InvalidInput = "InvalidInput",
    InvalidPaginationToken = "InvalidPaginationToken",
    InvalidParameter = "InvalidParameter",
    InvalidParameterCombination = "InvalidParameterCombination",
    InvalidParameterValue = "InvalidParameterValue",
    MalformedQueryString = "MalformedQueryString",
    MissingAction = "MissingAction",
    MissingAuthenticationToken = "MissingAuthenticationToken",
    MissingParameter = "MissingParameter",
    NoSuchVersion = "NoSuchVersion",
    OperationNotPermitted = "OperationNotPermitted",
    OptInRequired = "OptInRequired",
    RequestExpired = "RequestExpired",
    RequestLimitExceeded = "RequestLimitExceeded",
    ResourceCountExceeded = "ResourceCountExceeded",
    ResourceLimitExceeded = "ResourceLimitExceeded",
    SignatureDoesNotMatch = "SignatureDoesNotMatch",
    UnauthorizedOperation = "UnauthorizedOperation",
    Unavailable = "Unavailable",
    UnknownParameter = "UnknownParameter",
    UnsupportedOperation = "UnsupportedOperation",
    // Ids and tags.
    InvalidId = "InvalidID",
    TagLimitExceeded = "TagLimitExceeded",
    DependencyViolation = "DependencyViolation",
    // VPCs.
    CidrConflict = "CidrConflict",
    CidrLimitExceeded = "CidrLimitExceeded",
    InvalidCidrBlockInUse = "InvalidCidrBlock.InUse",
    DefaultVpcAlreadyExists = "DefaultVpcAlreadyExists",
    InvalidVpcIdMalformed = "InvalidVpcID.Malformed",
    InvalidVpcIdNotFound = "InvalidVpcID.NotFound",
    InvalidVpcRange = "InvalidVpc.Range",
    InvalidVpcState = "InvalidVpcState",
    InvalidStateTransition = "InvalidStateTransition",
    InvalidVpcPeeringConnectionIdMalformed = "InvalidVpcPeeringConnectionId.Malformed",
    InvalidVpcPeeringConnectionIdNotFound = "InvalidVpcPeeringConnectionID.NotFound",
    VpcPeeringConnectionAlreadyExists = "VpcPeeringConnectionAlreadyExists",
    VpcPeeringConnectionsPerVpcLimitExceeded = "VpcPeeringConnectionsPerVpcLimitExceeded",
    InvalidVpcCidrBlockAssociationIdMalformed = "InvalidVpcCidrBlockAssociationId.Malformed",
    InvalidVpcCidrBlockAssociationIdNotFound = "InvalidVpcCidrBlockAssociationID.NotFound",
    VpcLimitExceeded = "VpcLimitExceeded",
    // Subnets and zones.
    DefaultSubnetAlreadyExistsInAvailabilityZone = "DefaultSubnetAlreadyExistsInAvailabilityZone",
    InsufficientFreeAddressesInSubnet = "InsufficientFreeAddressesInSubnet",
    InvalidSubnetConflict = "InvalidSubnet.Conflict",
    InvalidSubnetIdMalformed = "InvalidSubnetID.Malformed",
    InvalidSubnetIdNotFound = "InvalidSubnetID.NotFound",
    InvalidSubnetRange = "InvalidSubnet.Range",
    SubnetLimitExceeded = "SubnetLimitExceeded",
    // Routes.
    InvalidAssociationIdMalformed = "InvalidAssociationID.Malformed",
    InvalidAssociationIdNotFound = "InvalidAssociationID.NotFound",
    InvalidGatewayIdNotFound = "InvalidGatewayID.NotFound",
    InvalidRouteMalformed = "InvalidRoute.Malformed",
    InvalidRouteNotFound = "InvalidRoute.NotFound",
    InvalidRouteTableIdMalformed = "InvalidRouteTableId.Malformed",
    InvalidRouteTableIdNotFound = "InvalidRouteTableID.NotFound",
    RouteAlreadyExists = "RouteAlreadyExists",
    RouteLimitExceeded = "RouteLimitExceeded",
    RouteTableLimitExceeded = "RouteTableLimitExceeded",
    // Gateways.
    GatewayNotAttached = "Gateway.NotAttached",
    InternetGatewayLimitExceeded = "InternetGatewayLimitExceeded",
    InvalidInternetGatewayIdMalformed = "InvalidInternetGatewayId.Malformed",
    InvalidInternetGatewayIdNotFound = "InvalidInternetGatewayID.NotFound",
    InvalidNatGatewayIdNotFound = "InvalidNatGatewayID.NotFound",
    NatGatewayLimitExceeded = "NatGatewayLimitExceeded",
    NatGatewayMalformed = "NatGatewayMalformed",
    NatGatewayNotFound = "NatGatewayNotFound",
    ResourceAlreadyAssociated = "Resource.AlreadyAssociated",
    // Addresses.
    AddressLimitExceeded = "AddressLimitExceeded",
    InsufficientAddressCapacity = "InsufficientAddressCapacity",
    InvalidAddressNotFound = "InvalidAddress.NotFound",
    InvalidAllocationIdNotFound = "InvalidAllocationID.NotFound",
    InvalidIpAddressInUse = "InvalidIPAddress.InUse",
    PrivateIpAddressLimitExceeded = "PrivateIpAddressLimitExceeded",
    // Network interfaces.
    InvalidAttachmentIdMalformed = "InvalidAttachmentId.Malformed",
    InvalidAttachmentIdNotFound = "InvalidAttachmentID.NotFound",
    InvalidAmiIdMalformed = "InvalidAMIID.Malformed",
    InvalidAmiIdNotFound = "InvalidAMIID.NotFound",
    InvalidInstanceType = "InvalidInstanceType",
    InvalidInstanceId = "InvalidInstanceID",
    InvalidInstanceIdMalformed = "InvalidInstanceID.Malformed",
    InvalidInstanceIdNotFound = "InvalidInstanceID.NotFound",
    InvalidNetworkInterfaceIdMalformed = "InvalidNetworkInterfaceId.Malformed",
    InvalidNetworkInterfaceIdNotFound = "InvalidNetworkInterfaceID.NotFound",
    InvalidNetworkInterfaceInUse = "InvalidNetworkInterface.InUse",
    InvalidNetworkInterfaceAttachmentIdMalformed = "InvalidNetworkInterfaceAttachmentId.Malformed",
    NetworkInterfaceLimitExceeded = "NetworkInterfaceLimitExceeded",
    // Security groups.
    CannotDelete = "CannotDelete",
    InvalidGroupDuplicate = "InvalidGroup.Duplicate",
    InvalidGroupIdMalformed = "InvalidGroupId.Malformed",
    InvalidGroupInUse = "InvalidGroup.InUse",
    InvalidGroupNotFound = "InvalidGroup.NotFound",
    InvalidGroupReserved = "InvalidGroup.Reserved",
    InvalidPermissionDuplicate = "InvalidPermission.Duplicate",
    InvalidPermissionMalformed = "InvalidPermission.Malformed",
    InvalidPermissionNotFound = "InvalidPermission.NotFound",
    InvalidSecurityGroupIdNotFound = "InvalidSecurityGroupID.NotFound",
    InvalidSecurityGroupRuleIdMalformed = "InvalidSecurityGroupRuleId.Malformed",
    InvalidSecurityGroupRuleIdNotFound = "InvalidSecurityGroupRuleId.NotFound",
    RulesPerSecurityGroupLimitExceeded = "RulesPerSecurityGroupLimitExceeded",
    SecurityGroupLimitExceeded = "SecurityGroupLimitExceeded",
    SecurityGroupsPerInterfaceLimitExceeded = "SecurityGroupsPerInterfaceLimitExceeded",
    // Network ACLs, DHCP options, prefix lists.
    InvalidDhcpOptionIdNotFound = "InvalidDhcpOptionID.NotFound",
    InvalidNetworkAclEntryNotFound = "InvalidNetworkAclEntry.NotFound",
    InvalidNetworkAclIdMalformed = "InvalidNetworkAclId.Malformed",
    InvalidNetworkAclIdNotFound = "InvalidNetworkAclID.NotFound",
    InvalidPrefixListIdMalformed = "InvalidPrefixListId.Malformed",
    InvalidPrefixListModification = "InvalidPrefixListModification",
    PrefixListMaxEntriesExceeded = "PrefixListMaxEntriesExceeded",
    PrefixListVersionMismatch = "PrefixListVersionMismatch",
    InvalidPrefixListIdNotFound = "InvalidPrefixListID.NotFound",
    NetworkAclEntryAlreadyExists = "NetworkAclEntryAlreadyExists",
    NetworkAclEntryLimitExceeded = "NetworkAclEntryLimitExceeded",
    NetworkAclLimitExceeded = "NetworkAclLimitExceeded",
}
