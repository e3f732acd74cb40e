//! A tonic server with one method and nothing else: no limits, metrics or lanes, and plain prost messages.

use std::convert::Infallible;
use std::future::Future;
use std::io::Read;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub(crate) const PATH: &str = "/peers.Plain/Call";

/// The handler of a plain server.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    type Request: Message + Default + 'static;
    type Reply: Message + Default + 'static;

    fn answer(&self, request: Self::Request) -> impl Future<Output = Result<Self::Reply, Status>> + Send;
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone)]
struct Plain<H>(H);

impl<H: Answer> UnaryService<H::Request> for Plain<H> {
    type Response = H::Reply;
    type Future = Boxed<Result<Response<H::Reply>, Status>>;

    fn call(&mut self, request: Request<H::Request>) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move { handler.answer(request.into_inner()).await.map(Response::new) })
    }
}

impl<H> NamedService for Plain<H> {
    const NAME: &'static str = "peers.Plain";
}

impl<H: Answer> tower::Service<http::Request<Body>> for Plain<H> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<H::Reply, H::Request>::default());
            Ok(grpc.unary(service, request).await)
        })
    }
}

/// Serves on a free loopback port, which it prints, until standard input is closed.
pub(crate) fn serve(handler: impl Answer) {
    // As with `#[tokio::main]`: a thread per core.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", json!({"address": listener.local_addr().unwrap()}));
        let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
        let served =
            tokio::spawn(Server::builder().add_service(Plain(handler)).serve_with_incoming(connections));
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        tokio::select! {
            served = served => served.unwrap().unwrap(),
            _ = closed => {}
        }
    });
}
