// SPDX-License-Identifier: Apache-2.0
//! Account settings: of one principal, and of the account for principals without their own.
//!
//! The value of containerInsights applies when a cluster is made. ARNs are always long.

use berth_shapes::ecs::{
    DeleteAccountSettingRequest, DeleteAccountSettingResponse, ListAccountSettingsRequest, ListAccountSettingsResponse,
    PutAccountSettingDefaultRequest, PutAccountSettingDefaultResponse, PutAccountSettingRequest,
    PutAccountSettingResponse, Setting,
};
use berth_state::ecs::{AccountSetting, AccountSettingKey, ContainerInsights, RecordKey};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::Arn;

use super::list::{Order, PageRequest, page};
use super::only::only;
use super::refuse::invalid;

/// A setting with the values it can have; the first is the default.
struct Kind {
    name: &'static str,
    values: &'static [&'static str],
}

const ON: &[&str] = &["enabled"];
const OFF_OR_ON: &[&str] = &["disabled", "enabled"];

const KINDS: [Kind; 10] = [
    Kind { name: "awsvpcTrunking", values: OFF_OR_ON },
    Kind { name: CONTAINER_INSIGHTS, values: &["disabled", "enabled", "enhanced"] },
    Kind { name: "containerInstanceLongArnFormat", values: ON },
    Kind { name: "defaultLogDriverMode", values: &["non-blocking", "blocking"] },
    Kind { name: "fargateEventWindows", values: OFF_OR_ON },
    Kind { name: "fargateFIPSMode", values: OFF_OR_ON },
    Kind { name: "fargateTaskRetirementWaitPeriod", values: &["7", "0", "14"] },
    Kind { name: "serviceLongArnFormat", values: ON },
    Kind { name: "tagResourceAuthorization", values: &["off", "on"] },
    Kind { name: "taskLongArnFormat", values: ON },
];

const CONTAINER_INSIGHTS: &str = "containerInsights";

/// PutAccountSetting.
pub fn put_account_setting(
    snap: &Snapshot,
    req: &PutAccountSettingRequest,
    env: &Env,
) -> Result<Change<PutAccountSettingResponse>, Refusal> {
    only(req, &["name", "principalArn", "value"])?;
    let principal = principal(req.principal_arn.as_deref(), env)?;
    let change = put(snap, req.name.as_deref(), req.value.as_deref(), principal)?;
    Ok(change.map(|setting| PutAccountSettingResponse { setting: Some(setting) }))
}

/// PutAccountSettingDefault.
pub fn put_account_setting_default(
    snap: &Snapshot,
    req: &PutAccountSettingDefaultRequest,
    env: &Env,
) -> Result<Change<PutAccountSettingDefaultResponse>, Refusal> {
    only(req, &["name", "value"])?;
    let change = put(snap, req.name.as_deref(), req.value.as_deref(), root(env))?;
    Ok(change.map(|setting| PutAccountSettingDefaultResponse { setting: Some(setting) }))
}

/// DeleteAccountSetting. Returns the value in effect after it.
pub fn delete_account_setting(
    snap: &Snapshot,
    req: &DeleteAccountSettingRequest,
    env: &Env,
) -> Result<Change<DeleteAccountSettingResponse>, Refusal> {
    only(req, &["name", "principalArn"])?;
    let kind = kind(req.name.as_deref())?;
    let principal = principal(req.principal_arn.as_deref(), env)?;
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::AccountSetting(AccountSettingKey {
        principal: principal.clone(),
        name: kind.name.to_owned(),
    }));
    let value = effective(&draft, kind, &principal, env);
    let setting = show(kind.name, &value, &principal);
    Ok(draft.change(DeleteAccountSettingResponse { setting: Some(setting) }))
}

/// ListAccountSettings: the principal's own settings, or with `effectiveSettings` those in effect for it.
pub fn list_account_settings(
    snap: &Snapshot,
    req: &ListAccountSettingsRequest,
    env: &Env,
) -> Result<ListAccountSettingsResponse, Refusal> {
    only(req, &["effectiveSettings", "maxResults", "name", "nextToken", "principalArn", "value"])?;
    let named = req.name.as_deref().map(|name| kind(Some(name))).transpose()?;
    if req.value.is_some() && named.is_none() {
        return Err(invalid("name must be specified when value is."));
    }
    let principal = principal(req.principal_arn.as_deref(), env)?;
    let settings = KINDS.iter().filter(|kind| named.is_none_or(|named| named.name == kind.name)).filter_map(|kind| {
        let value = match req.effective_settings {
            Some(true) => Some(effective(snap, kind, &principal, env)),
            Some(false) | None => given(snap, kind, &principal),
        };
        value.map(|value| (kind.name.to_owned(), show(kind.name, &value, &principal)))
    });
    let settings = settings.filter(|(_, setting)| req.value.is_none() || setting.value == req.value);
    let asked = PageRequest {
        max_results: req.max_results,
        next_token: req.next_token.as_deref(),
        operation: "ListAccountSettings",
    };
    let page = page(settings, &asked, Order::Ascending)?;
    Ok(ListAccountSettingsResponse { next_token: page.next_token, settings: Some(page.items) })
}

/// Setting containerInsights of a cluster whose request names none.
pub(super) fn container_insights(snap: &Snapshot, env: &Env) -> ContainerInsights {
    let kind = KINDS.iter().find(|kind| kind.name == CONTAINER_INSIGHTS);
    let value = kind.map(|kind| effective(snap, kind, &env.caller.arn(), env));
    value.and_then(|value| ContainerInsights::parse(&value)).unwrap_or(ContainerInsights::Disabled)
}

fn kind(name: Option<&str>) -> Result<&'static Kind, Refusal> {
    let name = name.unwrap_or_default();
    if name == "guardDutyActivate" {
        return Err(invalid("guardDutyActivate is managed by AWS and cannot be changed."));
    }
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| invalid(format!("Invalid setting name '{name}'.")))
}

fn put(
    snap: &Snapshot,
    name: Option<&str>,
    value: Option<&str>,
    principal: String,
) -> Result<Change<Setting>, Refusal> {
    let kind = kind(name)?;
    let value = value.unwrap_or_default();
    if !kind.values.contains(&value) {
        let known = kind.values.join(", ");
        return Err(invalid(format!("Invalid value '{value}' for setting {}. Must be one of [{known}]", kind.name)));
    }
    let shown = show(kind.name, value, &principal);
    let mut draft = Draft::of(snap);
    let key = AccountSettingKey { principal, name: kind.name.to_owned() };
    draft.put(AccountSetting { key, value: value.to_owned() });
    Ok(draft.change(shown))
}

/// The principal's own value, else the account's, else the default.
fn effective(snap: &Snapshot, kind: &Kind, principal: &str, env: &Env) -> String {
    let own = given(snap, kind, principal).or_else(|| given(snap, kind, &root(env)));
    own.unwrap_or_else(|| kind.values.first().copied().unwrap_or_default().to_owned())
}

fn given(snap: &Snapshot, kind: &Kind, principal: &str) -> Option<String> {
    let key = AccountSettingKey { principal: principal.to_owned(), name: kind.name.to_owned() };
    snap.ecs().account_settings.get(&key).map(|setting| setting.value.clone())
}

fn root(env: &Env) -> String {
    format!("arn:aws:iam::{}:root", env.account)
}

/// The principal meant: a user or role of this account, else the caller.
fn principal(asked: Option<&str>, env: &Env) -> Result<String, Refusal> {
    let Some(text) = asked.filter(|text| !text.is_empty()) else { return Ok(env.caller.arn()) };
    let arn: Option<Arn> = text.parse().ok();
    match arn.filter(|arn| arn.service == "iam" && arn.account == env.account) {
        Some(_) => Ok(text.to_owned()),
        None => Err(invalid(format!("Invalid principalArn '{text}'."))),
    }
}

fn show(name: &str, value: &str, principal: &str) -> Setting {
    Setting {
        name: Some(name.to_owned()),
        principal_arn: Some(principal.to_owned()),
        r#type: Some("user".to_owned()),
        value: Some(value.to_owned()),
    }
}
