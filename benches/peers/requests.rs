//! The requests for each server, encoded before the measurement; consecutive ones differ.

use std::path::Path;

use bytes::Bytes;
use clap::ValueEnum;
use proffer::grpc::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use proffer::grpc::proto::inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice};
use proffer::grpc::proto::proffer::v1 as wire;
use prost::Message;

use crate::bare::Rows;
use crate::data::{CUSTOMER, Data, OFFER, OFFERS, WIDTH};
use crate::plain;

/// Customers whose rows are sent in full; more would only fill the client's memory.
const FULL_ROWS: usize = 1000;

/// Customers per message of a campaign.
const CAMPAIGN: usize = 500;

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// 100 rows, to the bare server.
    Bare,
    /// 100 rows over the Open Inference Protocol, to `MLServer`.
    Mlserver,
    /// 100 rows over the Open Inference Protocol, to Proffer.
    Infer,
    /// `Rank` of one customer × 100 offers.
    Rank,
    /// `Score` of one row with the regression.
    Score,
    /// The same message, to the server that does nothing.
    Echo,
    /// `RankStream` of all customers.
    Campaign,
}

impl Case {
    /// The path of its method.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Bare | Self::Echo => plain::PATH,
            Self::Mlserver | Self::Infer => "/inference.GRPCInferenceService/ModelInfer",
            Self::Rank => "/proffer.v1.DecisionService/Rank",
            Self::Score => "/proffer.v1.DecisionService/Score",
            Self::Campaign => "/proffer.v1.DecisionService/RankStream",
        }
    }

    /// Its requests, in the order of the expected answers in `peers.py`.
    pub(crate) fn requests(self, folder: &Path) -> Vec<Bytes> {
        let data = Data::read(folder);
        let customers = data.customers.len() / CUSTOMER;
        let bytes = |message: &dyn Fn(usize) -> Vec<u8>, count: usize| {
            (0..count).map(|index| Bytes::from(message(index))).collect()
        };
        match self {
            Self::Bare => bytes(&|index| Rows { values: data.pairs(index) }.encode_to_vec(), FULL_ROWS),
            Self::Mlserver | Self::Infer => {
                bytes(&|index| self.inference(&data.pairs(index)).encode_to_vec(), FULL_ROWS)
            }
            Self::Rank => {
                bytes(&|index| rank(index..index + 1, wire::Explain::Winners).encode_to_vec(), customers)
            }
            Self::Score | Self::Echo => bytes(&|index| score(&data, index).encode_to_vec(), customers),
            Self::Campaign => bytes(
                &|index| {
                    let many = rank(index * CAMPAIGN..(index + 1) * CAMPAIGN, wire::Explain::None);
                    wire::RankStreamRequest { request: Some(many) }.encode_to_vec()
                },
                customers / CAMPAIGN,
            ),
        }
    }

    fn inference(self, rows: &[f32]) -> ModelInferRequest {
        let numpy = InferParameter { parameter_choice: Some(ParameterChoice::StringParam("np".to_owned())) };
        let proffer = self == Self::Infer;
        let input = InferInputTensor {
            name: "features".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![OFFERS as i64, WIDTH as i64],
            // MLServer needs the content type to build an array; its outputs cannot be selected.
            parameters: if proffer { [].into() } else { [("content_type".to_owned(), numpy)].into() },
            contents: None,
        };
        let output = InferRequestedOutputTensor { name: "probabilities".to_owned(), ..Default::default() };
        ModelInferRequest {
            model_name: "trees".to_owned(),
            inputs: vec![input],
            outputs: if proffer { vec![output] } else { Vec::new() },
            raw_input_contents: vec![rows.iter().flat_map(|value| value.to_le_bytes()).collect()],
            ..ModelInferRequest::default()
        }
    }
}

/// A request for the best five offers for each of these customers.
pub(crate) fn rank(customers: std::ops::Range<usize>, explain: wire::Explain) -> wire::RankRequest {
    let customer =
        |index| wire::Customer { customer_id: format!("C{index:05}"), ..wire::Customer::default() };
    wire::RankRequest {
        placement: "all".to_owned(),
        customers: customers.map(customer).collect(),
        count: 5,
        explain: explain.into(),
        ..wire::RankRequest::default()
    }
}

/// A request to score a customer with one of the offers.
fn score(data: &Data, index: usize) -> wire::ScoreRequest {
    let names = (0..CUSTOMER).map(|at| format!("c{at:02}")).chain((0..OFFER).map(|at| format!("o{at}")));
    let dense = wire::DenseFeatures {
        names: names.collect(),
        values: [data.customer(index), data.offer(index % OFFERS)].concat(),
    };
    wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "logistic".to_owned(), version: 0 }),
        features: Some(wire::FeatureBatch { rows: 1, dense: Some(dense), columns: Vec::new() }),
        offer_ids: Vec::new(),
    }
}
