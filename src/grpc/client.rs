//! A client of the server's own services for the command line: domain types in, printable answers out.

mod address;
mod analysis;
mod decisions;
mod experiments;
mod management;
mod outcomes;
mod records;
mod shadows;

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::proto::proffer::v1 as wire;
use super::records::Unreadable;
use super::status::{code_name, retry_delay};
use wire::analysis_service_client::AnalysisServiceClient;
use wire::decision_service_client::DecisionServiceClient;
use wire::experiment_service_client::ExperimentServiceClient;
use wire::model_service_client::ModelServiceClient;
use wire::release_service_client::ReleaseServiceClient;

pub use decisions::{
    RankAnswer, RankQuestion, RankedCustomer, Scored, ShownAssignment, ShownOffer, ShownSegment,
};
pub use management::{PIECE, Watch};
pub use outcomes::OutcomeAnswer;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not valid.
    #[error("`{address}` is not a server address: {wrong}; write {instead}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        wrong: String,
        /// A valid address, as close to the given one as possible.
        instead: String,
    },
    /// No server answers there.
    #[error("no server answers at {address}: {reason}; is `proffer serve` running?")]
    Unreachable {
        /// The address.
        address: String,
        /// Why the connection failed.
        reason: String,
    },
    /// The server refused.
    #[error("{code}: {message}")]
    Refused {
        /// The status code's name.
        code: &'static str,
        /// What the server said, and when the call may be tried again.
        message: String,
    },
    /// The answer does not fit this version of the client.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A part of this program failed.
    #[error("{0}")]
    Internal(String),
    /// A file to send cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        let again = retry_delay(&status).map(|after| format!(" (try again after {after:?})"));
        let message = status.message().to_owned() + &again.unwrap_or_default();
        Self::Refused { code: code_name(status.code()), message }
    }
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to `address` (`http://127.0.0.1:50051`; the scheme may be left out, the port may not).
    ///
    /// # Errors
    /// When the address is not valid, or no server answers there.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let refused = |(wrong, instead)| ClientError::Address { address: address.to_owned(), wrong, instead };
        let url = address::url(address).map_err(refused)?;
        let endpoint = Endpoint::from_shared(url)
            .map_err(|error| refused((error.to_string(), format!("http://{}", address::EXAMPLE))))?;
        let channel = endpoint.connect_timeout(Duration::from_secs(5)).connect().await.map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            ClientError::Unreachable { address: address.to_owned(), reason: cause }
        })?;
        Ok(Self { channel })
    }

    fn decisions(&self) -> DecisionServiceClient<Channel> {
        DecisionServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn experiments(&self) -> ExperimentServiceClient<Channel> {
        ExperimentServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn analyses(&self) -> AnalysisServiceClient<Channel> {
        AnalysisServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn releases(&self) -> ReleaseServiceClient<Channel> {
        ReleaseServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }
}
