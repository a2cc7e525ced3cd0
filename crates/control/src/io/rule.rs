// SPDX-License-Identifier: Apache-2.0
//! A function of the server that answers an operation, with its types hidden.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use berth_shapes::{Input, Refusal, Structure};
use berth_state::door::Fill;
use berth_state::{Env, Snapshot};

type Output = Result<Box<dyn Structure + Send>, Refusal>;

/// A function that answers an operation.
pub(crate) struct Rule(Box<dyn Function>);

/// A call of such a function.
pub(crate) struct Call(Box<dyn Begun>);

trait Function: Send + Sync {
    fn call(&self, fill: Fill<'_>) -> Result<Box<dyn Begun>, Refusal>;
}

trait Begun: Send + Sync {
    fn input(&self) -> &dyn Structure;
    fn perform(self: Box<Self>, snapshot: Arc<Snapshot>, env: Env) -> Pin<Box<dyn Future<Output = Output> + Send>>;
}

impl Rule {
    /// The rule of an async function of snapshot, input and environment.
    #[allow(dead_code, reason = "no operation has effects other than records yet; the generated table calls it")]
    pub(crate) fn new<F, I, O, A>(function: F) -> Self
    where
        F: Fn(Arc<Snapshot>, I, Env) -> A + Copy + Send + Sync + 'static,
        A: Future<Output = Result<O, Refusal>> + Send + 'static,
        I: Input + Send + Sync + 'static,
        O: Structure + Send + 'static,
    {
        Self(Box::new(Typed { function, input: std::marker::PhantomData }))
    }

    /// A call, with its input filled.
    pub(crate) fn call(&self, fill: Fill<'_>) -> Result<Call, Refusal> {
        self.0.call(fill).map(Call)
    }
}

impl Call {
    /// The input.
    pub(crate) fn input(&self) -> &dyn Structure {
        self.0.input()
    }

    /// Performs the operation.
    pub(crate) async fn perform(self, snapshot: Arc<Snapshot>, env: Env) -> Output {
        self.0.perform(snapshot, env).await
    }
}

struct Typed<F, I> {
    function: F,
    input: std::marker::PhantomData<fn(I)>,
}

struct Filled<F, I> {
    function: F,
    input: I,
}

impl<F, I, O, A> Function for Typed<F, I>
where
    F: Fn(Arc<Snapshot>, I, Env) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Result<O, Refusal>> + Send + 'static,
    I: Input + Send + Sync + 'static,
    O: Structure + Send + 'static,
{
    fn call(&self, fill: Fill<'_>) -> Result<Box<dyn Begun>, Refusal> {
        let mut input = I::default();
        fill(&mut input)?;
        Ok(Box::new(Filled { function: self.function, input }))
    }
}

impl<F, I, O, A> Begun for Filled<F, I>
where
    F: Fn(Arc<Snapshot>, I, Env) -> A + Send + Sync + 'static,
    A: Future<Output = Result<O, Refusal>> + Send + 'static,
    I: Input + Send + Sync + 'static,
    O: Structure + Send + 'static,
{
    fn input(&self) -> &dyn Structure {
        &self.input
    }

    fn perform(self: Box<Self>, snapshot: Arc<Snapshot>, env: Env) -> Pin<Box<dyn Future<Output = Output> + Send>> {
        let answering = (self.function)(snapshot, self.input, env);
        Box::pin(async move { Ok(Box::new(answering.await?) as Box<dyn Structure + Send>) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use berth_shapes::View;
    use berth_shapes::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};

    use super::*;

    async fn name_the_caller(
        _snapshot: Arc<Snapshot>,
        _input: GetCallerIdentityRequest,
        env: Env,
    ) -> Result<GetCallerIdentityResponse, Refusal> {
        tokio::task::yield_now().await;
        Ok(GetCallerIdentityResponse { arn: Some(env.caller.arn()), ..Default::default() })
    }

    #[tokio::test]
    async fn a_function_answers_behind_its_types() {
        let call = Rule::new(name_the_caller).call(&mut |_| Ok(())).ok().unwrap();
        assert_eq!(call.input().shape().name, "GetCallerIdentityRequest");
        let output = call.perform(Arc::default(), Env::fixed()).await.unwrap();
        assert!(matches!(output.member(1), Some(View::Text("arn:aws:iam::111122223333:root"))));
    }
}
