// SPDX-License-Identifier: Apache-2.0
//! Reasons why a request is not authenticated, and their form in each family of services.

use berth_shapes::{CommonErrorCode, Ec2ErrorCode, Protocol, Refusal};

/// Reason why a request is not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no signature.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// The authorization cannot be read.
    #[error("{0}")]
    Incomplete(String),
    /// No caller has this access key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The session token is missing, superfluous, or not the one of the key.
    #[error("The security token included in the request is invalid.")]
    WrongSessionToken,
    /// The session has expired.
    #[error("The security token included in the request is expired")]
    ExpiredSession,
    /// The signature's time is too far from now, or a presigned request has expired.
    #[error("{0}")]
    WrongTime(String),
    /// The scope names another region, service or day; or a header that must be signed is not.
    #[error("{0}")]
    WrongScope(String),
    /// The signature does not match this request and key.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    WrongSignature,
}

impl AuthError {
    /// The refusal, with the code and words of services of the protocol.
    pub fn refusal(&self, protocol: Protocol) -> Refusal {
        match protocol {
            Protocol::AwsJson11 => Refusal::new(self.json_code(), self.to_string()),
            Protocol::AwsQuery => Refusal::new(self.query_code(), self.to_string()),
            Protocol::Ec2Query => self.ec2_refusal(),
        }
    }

    fn json_code(&self) -> CommonErrorCode {
        match self {
            AuthError::Missing => CommonErrorCode::MissingAuthenticationTokenException,
            AuthError::Incomplete(_) => CommonErrorCode::IncompleteSignatureException,
            AuthError::UnknownKey | AuthError::WrongSessionToken => CommonErrorCode::UnrecognizedClientException,
            AuthError::ExpiredSession => CommonErrorCode::ExpiredTokenException,
            AuthError::WrongTime(_) | AuthError::WrongScope(_) | AuthError::WrongSignature => {
                CommonErrorCode::InvalidSignatureException
            }
        }
    }

    fn query_code(&self) -> CommonErrorCode {
        match self {
            AuthError::Missing => CommonErrorCode::MissingAuthenticationToken,
            AuthError::Incomplete(_) => CommonErrorCode::IncompleteSignature,
            AuthError::UnknownKey | AuthError::WrongSessionToken => CommonErrorCode::InvalidClientTokenId,
            AuthError::ExpiredSession => CommonErrorCode::ExpiredToken,
            AuthError::WrongTime(_) | AuthError::WrongScope(_) | AuthError::WrongSignature => {
                CommonErrorCode::SignatureDoesNotMatch
            }
        }
    }

    /// EC2 does not reveal which part is wrong: it has one code for key, token and signature.
    fn ec2_refusal(&self) -> Refusal {
        match self {
            AuthError::Missing => Refusal::new(Ec2ErrorCode::MissingAuthenticationToken, self.to_string()),
            AuthError::Incomplete(words) => Refusal::new(Ec2ErrorCode::IncompleteSignature, words),
            AuthError::UnknownKey | AuthError::WrongSessionToken | AuthError::WrongSignature => {
                Refusal::new(Ec2ErrorCode::AuthFailure, "AWS was not able to validate the provided access credentials")
            }
            AuthError::WrongScope(words) => Refusal::new(Ec2ErrorCode::AuthFailure, words),
            AuthError::ExpiredSession | AuthError::WrongTime(_) => {
                Refusal::new(Ec2ErrorCode::RequestExpired, "Request has expired.")
            }
        }
    }
}
