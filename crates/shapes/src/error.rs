// SPDX-License-Identifier: Apache-2.0
//! The type over the error codes of all services: `error_code.rs`, which is generated, declares which there are.

/// The party responsible for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller; a retry of the same request cannot succeed.
    Client,
    /// The server; a retry may succeed.
    Server,
}

impl Fault {
    /// The word in awsQuery errors.
    pub const fn query_type(self) -> &'static str {
        match self {
            Fault::Client => "Sender",
            Fault::Server => "Receiver",
        }
    }
}

/// Declares `ErrorCode`: a variant for each service, and one for the codes that services share.
macro_rules! any_error_code {
    ($($variant:ident($code:path),)*) => {
        /// Every error code an answer can carry. An answer cannot carry a code that is not in this type. Other crates do
        /// not list its variants, so that a new service does not change them.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("A code of ", stringify!($variant), ".")]
                $variant($code),
            )*
        }

        impl ErrorCode {
            /// The code as AWS spells it.
            pub const fn code(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant(code) => code.as_str(),)*
                }
            }

            /// The HTTP status of the answer.
            pub const fn http_status(self) -> u16 {
                match self {
                    $(ErrorCode::$variant(code) => code.http_status(),)*
                }
            }

            /// The party responsible.
            pub const fn fault(self) -> crate::error::Fault {
                if self.http_status() >= 500 { crate::error::Fault::Server } else { crate::error::Fault::Client }
            }
        }

        impl std::fmt::Display for ErrorCode {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.code())
            }
        }

        $(impl From<$code> for ErrorCode {
            fn from(code: $code) -> ErrorCode {
                ErrorCode::$variant(code)
            }
        })*
    };
}

pub(crate) use any_error_code;
