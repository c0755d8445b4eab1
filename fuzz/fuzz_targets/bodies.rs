//! JSON bodies of the API.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::http::{
    approvals::DecideStep, jobs::SalvageAttempt, jobs::SubmitJob, join::JoinWorker, join::RenewWorker,
    secrets::SetSecret, tokens::CreateToken, workflows::PutWorkflow, workflows::ValidateWorkflow,
};
use serde_json::from_slice;

fuzz_target!(|bytes: &[u8]| {
    let _ = from_slice::<SubmitJob>(bytes).map(|job| serde_json::to_vec(&job).expect("writable"));
    let _ = from_slice::<Vec<SubmitJob>>(bytes);
    let _ = from_slice::<DecideStep>(bytes);
    let _ = from_slice::<SalvageAttempt>(bytes);
    let _ = from_slice::<JoinWorker>(bytes);
    let _ = from_slice::<RenewWorker>(bytes).map(|wish| wish.public_key.point());
    let _ = from_slice::<CreateToken>(bytes);
    let _ = from_slice::<SetSecret>(bytes);
    let _ = from_slice::<PutWorkflow>(bytes);
    let _ = from_slice::<ValidateWorkflow>(bytes);
});
