//! Further processes in a running container.

use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{
    DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, StartRequest, WaitRequest,
};
use oci_spec::runtime::{Process, Spec};

use super::{CALL_LIMIT, Containerd, WORK_LIMIT, call};
use crate::Fault;
use crate::fault::absent_is_fine;

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;

impl Containerd {
    /// Runs a command as the container's own program would be run, with its output in the file `output`. Answers its
    /// exit code, or nothing when it took longer than `limit` and was killed.
    pub async fn exec(
        &self,
        id: &str,
        command: Vec<String>,
        output: &Path,
        limit: Duration,
    ) -> Result<Option<i32>, Fault> {
        let mut process = self.process_of(id).await?;
        process.set_args(Some(command));
        process.set_terminal(Some(false));
        let spec = serde_json::to_vec(&process).map_err(|cause| Fault::Specification(cause.to_string()))?;
        let exec_id = format!("exec-{:016x}", rand::random::<u64>());
        let output = format!("file://{}", output.display());
        let request = self.request(ExecProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.clone(),
            stdout: output.clone(),
            stderr: output,
            spec: Some(prost_types::Any { type_url: PROCESS_TYPE.to_owned(), value: spec }),
            ..ExecProcessRequest::default()
        });
        let mut client = TasksClient::new(self.channel.clone());
        call("Tasks.Exec", id, CALL_LIMIT, client.exec(request)).await?;
        let ended = self.run_exec(id, &exec_id, limit).await;
        let request = self.request(DeleteProcessRequest { container_id: id.to_owned(), exec_id });
        let deleted = call("Tasks.DeleteProcess", id, CALL_LIMIT, client.delete_process(request)).await.map(drop);
        let code = ended?;
        absent_is_fine(deleted)?;
        Ok(code)
    }

    async fn run_exec(&self, id: &str, exec_id: &str, limit: Duration) -> Result<Option<i32>, Fault> {
        let mut client = TasksClient::new(self.channel.clone());
        let request = self.request(StartRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() });
        call("Tasks.Start", id, WORK_LIMIT, client.start(request)).await?;
        let wait = || self.request(WaitRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() });
        match call("Tasks.Wait", id, limit, client.wait(wait())).await {
            Ok(ended) => Ok(Some(i32::try_from(ended.exit_status).unwrap_or(255))),
            Err(Fault::ContainerdSilent { .. }) => {
                let (container_id, exec_id) = (id.to_owned(), exec_id.to_owned());
                let request = self.request(KillRequest { container_id, exec_id, signal: SIGKILL, all: false });
                absent_is_fine(call("Tasks.Kill", id, CALL_LIMIT, client.kill(request)).await.map(drop))?;
                call("Tasks.Wait", id, CALL_LIMIT, client.wait(wait())).await?;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// How the container's own program is run.
    async fn process_of(&self, id: &str) -> Result<Process, Fault> {
        let request = self.request(GetContainerRequest { id: id.to_owned() });
        let mut client = ContainersClient::new(self.channel.clone());
        let found = call("Containers.Get", id, CALL_LIMIT, client.get(request)).await?;
        let spec = found.container.and_then(|container| container.spec).map(|spec| spec.value).unwrap_or_default();
        let spec: Spec = serde_json::from_slice(&spec).map_err(|cause| Fault::Specification(cause.to_string()))?;
        spec.process().clone().ok_or_else(|| Fault::Specification(format!("{id} has no process")))
    }
}
