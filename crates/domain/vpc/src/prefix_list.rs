// SPDX-License-Identifier: Apache-2.0
//! Managed prefix lists: ranges under one name, which routes and rules of security groups name instead of a range.
//!
//! A change of the entries makes a new version and acts at once wherever the list is named. A list counts as many rules
//! or routes as it can hold entries, so a larger list can be refused for the sake of what names it.

use std::collections::BTreeMap;

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::{
    self, AddPrefixListEntry, CreateManagedPrefixListRequest, CreateManagedPrefixListResult,
    DeleteManagedPrefixListRequest, DeleteManagedPrefixListResult, DescribeManagedPrefixListsRequest,
    DescribeManagedPrefixListsResult, GetManagedPrefixListAssociationsRequest, GetManagedPrefixListAssociationsResult,
    GetManagedPrefixListEntriesRequest, GetManagedPrefixListEntriesResult, ManagedPrefixList,
    ModifyManagedPrefixListRequest, ModifyManagedPrefixListResult, PrefixListAssociation,
    RestoreManagedPrefixListVersionRequest, RestoreManagedPrefixListVersionResult,
};
use berth_state::vpc::{AclRange, AddressFamily, PrefixList, PrefixListEntry, PrefixListState, RecordKey};
use berth_state::{Change, ClientToken, Draft, Env, Refusal, Snapshot};
use berth_types::{PrefixListId, RouteTableId, SecurityGroupId};

use super::describe::Selection;
use super::filter::{Filters, text};
use super::request::{invalid, invalid_value, made_before, missing, only, required};
use super::{find, route, security_group_rule, tags};

/// Maximum number of entries that a list can be made for.
const ENTRIES_MAX: u32 = 1000;

/// Maximum number of entries that one call adds or removes.
const CHANGES_MAX: usize = 100;

/// Maximum number of versions that are kept of a list.
const VERSIONS_MAX: usize = 100;

/// Maximum length of a name and of a description in characters.
const CHARS_MAX: usize = 255;

/// Names that belong to AWS begin with it.
const RESERVED: &str = "com.amazonaws";

/// CreateManagedPrefixList.
pub fn create_managed_prefix_list(
    snap: &Snapshot,
    req: &CreateManagedPrefixListRequest,
    env: &Env,
) -> Result<Change<CreateManagedPrefixListResult>, Refusal> {
    only(req, &["PrefixListName", "Entries", "MaxEntries", "AddressFamily", "ClientToken", "TagSpecifications"])?;
    let token = ClientToken::of(req.client_token.as_deref(), req);
    let lists = snap.vpc().prefix_lists.values().map(AsRef::as_ref);
    if let Some(list) = made_before(token.as_ref(), lists, |list: &PrefixList| list.client_token.as_ref())? {
        return Ok(Change::none(CreateManagedPrefixListResult { prefix_list: Some(show(list, env)) }));
    }
    let tags = tags::asked(&req.tag_specifications, tags::Kind::PrefixList)?;
    let name = name(required(&req.prefix_list_name, "prefixListName")?)?;
    let family = match required(&req.address_family, "addressFamily")? {
        "IPv4" => AddressFamily::Ipv4,
        "IPv6" => AddressFamily::Ipv6,
        other => return Err(invalid_value(other, "addressFamily", "Valid values are 'IPv4' and 'IPv6'.")),
    };
    let max_entries = max_entries(req.max_entries.ok_or_else(|| missing("maxEntries"))?)?;
    let mut entries = Vec::new();
    add(&mut entries, family, req.entries.as_deref().unwrap_or_default())?;
    check_size(&entries, max_entries)?;
    let list = PrefixList {
        id: PrefixListId::from_bits(env.fresh_bits()),
        name,
        family,
        max_entries,
        state: PrefixListState::Created,
        version: 1,
        versions: BTreeMap::from([(1, entries)]),
        client_token: token,
        tags,
    };
    let shown = in_progress(show(&list, env), "create");
    let mut draft = Draft::of(snap);
    draft.put(list);
    Ok(draft.change(CreateManagedPrefixListResult { prefix_list: Some(shown) }))
}

/// ModifyManagedPrefixList: the entries, or the size; and the name.
pub fn modify_managed_prefix_list(
    snap: &Snapshot,
    req: &ModifyManagedPrefixListRequest,
    env: &Env,
) -> Result<Change<ModifyManagedPrefixListResult>, Refusal> {
    only(req, &["PrefixListId", "CurrentVersion", "PrefixListName", "AddEntries", "RemoveEntries", "MaxEntries"])?;
    let mut list = find::prefix_list(snap, required(&req.prefix_list_id, "prefixListId")?)?.as_ref().clone();
    let added = req.add_entries.as_deref().unwrap_or_default();
    let removed = req.remove_entries.as_deref().unwrap_or_default();
    let has_entries = !added.is_empty() || !removed.is_empty();
    if has_entries && req.max_entries.is_some() {
        let words = "The entries and the maximum number of entries of a prefix list cannot be modified in one request.";
        return Err(Refusal::new(Code::InvalidPrefixListModification, words));
    }
    if req.current_version.is_some_and(|version| u64::try_from(version) != Ok(list.version)) {
        return Err(wrong_version());
    }
    if let Some(given) = req.prefix_list_name.as_deref().filter(|name| !name.is_empty()) {
        list.name = name(given)?;
    }
    if let Some(wanted) = req.max_entries {
        list.max_entries = max_entries(wanted)?;
        check_size(list.entries(), list.max_entries)?;
        check_users(snap, &list)?;
    }
    if has_entries {
        if req.current_version.is_none() {
            return Err(missing("currentVersion"));
        }
        let mut entries = list.entries().to_vec();
        for entry in removed {
            let text = required(&entry.cidr, "cidr")?;
            let range = range(list.family, text)?;
            let at = entries.iter().position(|held| held.range == range).ok_or_else(|| {
                let words = format!("The prefix list has no entry with the CIDR {text}.");
                Refusal::new(Code::InvalidPrefixListModification, words)
            })?;
            entries.remove(at);
        }
        add(&mut entries, list.family, added)?;
        check_size(&entries, list.max_entries)?;
        next_version(&mut list, entries);
    }
    list.state = PrefixListState::Modified;
    let shown = in_progress(show(&list, env), "modify");
    let mut draft = Draft::of(snap);
    draft.put(list);
    Ok(draft.change(ModifyManagedPrefixListResult { prefix_list: Some(shown) }))
}

/// RestoreManagedPrefixListVersion: a new version with the entries of an earlier one.
pub fn restore_managed_prefix_list_version(
    snap: &Snapshot,
    req: &RestoreManagedPrefixListVersionRequest,
    env: &Env,
) -> Result<Change<RestoreManagedPrefixListVersionResult>, Refusal> {
    only(req, &["PrefixListId", "PreviousVersion", "CurrentVersion"])?;
    let mut list = find::prefix_list(snap, required(&req.prefix_list_id, "prefixListId")?)?.as_ref().clone();
    let current = req.current_version.ok_or_else(|| missing("currentVersion"))?;
    let previous = req.previous_version.ok_or_else(|| missing("previousVersion"))?;
    if u64::try_from(current) != Ok(list.version) {
        return Err(wrong_version());
    }
    let entries = version_of(&list, previous)?.to_vec();
    check_size(&entries, list.max_entries)?;
    next_version(&mut list, entries);
    list.state = PrefixListState::Restored;
    let shown = in_progress(show(&list, env), "restore");
    let mut draft = Draft::of(snap);
    draft.put(list);
    Ok(draft.change(RestoreManagedPrefixListVersionResult { prefix_list: Some(shown) }))
}

/// DeleteManagedPrefixList: not while a route or a rule names it.
pub fn delete_managed_prefix_list(
    snap: &Snapshot,
    req: &DeleteManagedPrefixListRequest,
    env: &Env,
) -> Result<Change<DeleteManagedPrefixListResult>, Refusal> {
    only(req, &["PrefixListId"])?;
    let list = find::prefix_list(snap, required(&req.prefix_list_id, "prefixListId")?)?;
    if users(snap, &list.id).next().is_some() {
        let words = format!("The prefix list '{}' has dependencies and cannot be deleted.", list.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::PrefixList(list.id.clone()));
    let shown = in_progress(show(list, env), "delete");
    Ok(draft.change(DeleteManagedPrefixListResult { prefix_list: Some(shown) }))
}

/// DescribeManagedPrefixLists.
pub fn describe_managed_prefix_lists(
    snap: &Snapshot,
    req: &DescribeManagedPrefixListsRequest,
    env: &Env,
) -> Result<DescribeManagedPrefixListsResult, Refusal> {
    only(req, &["PrefixListIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeManagedPrefixLists",
        ids_parameter: "prefixListIds",
        ids: &req.prefix_list_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let lists = selection.records(&snap.vpc().prefix_lists, |id| find::prefix_list(snap, id))?;
    let page = selection.page(&FILTERS, lists.into_iter().map(|list| (list.id.to_string(), show(list, env))))?;
    Ok(DescribeManagedPrefixListsResult { prefix_lists: Some(page.items), next_token: page.next_token })
}

/// GetManagedPrefixListEntries: those of the present version, or of another one.
pub fn get_managed_prefix_list_entries(
    snap: &Snapshot,
    req: &GetManagedPrefixListEntriesRequest,
    _env: &Env,
) -> Result<GetManagedPrefixListEntriesResult, Refusal> {
    only(req, &["PrefixListId", "TargetVersion", "MaxResults", "NextToken"])?;
    let list = find::prefix_list(snap, required(&req.prefix_list_id, "prefixListId")?)?;
    let entries = match req.target_version {
        Some(version) => version_of(list, version)?,
        None => list.entries(),
    };
    let shown = entries.iter().map(|entry| {
        let cidr = range_text(entry.range);
        (cidr.clone(), ec2::PrefixListEntry { cidr: Some(cidr), description: entry.description.clone() })
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by(|one, other| one.0.cmp(&other.0));
    let all = all("GetManagedPrefixListEntries", req.max_results, &req.next_token);
    let page = all.page(&Filters { rows: &[], tags: None }, shown)?;
    Ok(GetManagedPrefixListEntriesResult { entries: Some(page.items), next_token: page.next_token })
}

/// GetManagedPrefixListAssociations: the route tables and groups that name the list.
pub fn get_managed_prefix_list_associations(
    snap: &Snapshot,
    req: &GetManagedPrefixListAssociationsRequest,
    env: &Env,
) -> Result<GetManagedPrefixListAssociationsResult, Refusal> {
    only(req, &["PrefixListId", "MaxResults", "NextToken"])?;
    let list = find::prefix_list(snap, required(&req.prefix_list_id, "prefixListId")?)?;
    let shown = users(snap, &list.id).map(|id| {
        let association =
            PrefixListAssociation { resource_id: Some(id.clone()), resource_owner: Some(env.account.clone()) };
        (id, association)
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by(|one, other| one.0.cmp(&other.0));
    let all = all("GetManagedPrefixListAssociations", req.max_results, &req.next_token);
    let page = all.page(&Filters { rows: &[], tags: None }, shown)?;
    Ok(GetManagedPrefixListAssociationsResult {
        prefix_list_associations: Some(page.items),
        next_token: page.next_token,
    })
}

/// The selection of everything, page by page.
fn all<'a>(operation: &'static str, max_results: Option<i32>, next_token: &'a Option<String>) -> Selection<'a> {
    Selection { operation, ids_parameter: "", ids: &None, filters: &None, max_results, next_token }
}

/// The ids of the route tables and groups that name the list.
fn users<'a>(snap: &'a Snapshot, list: &'a PrefixListId) -> impl Iterator<Item = String> + 'a {
    let groups = groups(snap, list).map(ToString::to_string);
    tables(snap, list).map(ToString::to_string).chain(groups)
}

fn tables<'a>(snap: &'a Snapshot, list: &'a PrefixListId) -> impl Iterator<Item = &'a RouteTableId> {
    let entries = snap.vpc().index().prefix_list_routes.range((list.clone(), RouteTableId::from_bits(0))..);
    entries.take_while(move |(named, _)| named == list).map(|(_, table)| table)
}

fn groups<'a>(snap: &'a Snapshot, list: &'a PrefixListId) -> impl Iterator<Item = &'a SecurityGroupId> {
    let entries = snap.vpc().index().prefix_list_rules.range((list.clone(), SecurityGroupId::from_bits(0))..);
    entries.take_while(move |(named, _)| named == list).map(|(_, group)| group)
}

/// Refuses a size for which a table or a group that names the list has no room.
fn check_users(snap: &Snapshot, list: &PrefixList) -> Result<(), Refusal> {
    let mut draft = Draft::of(snap);
    draft.put(list.clone());
    for table in tables(snap, &list.id).filter_map(|id| snap.vpc().route_tables.get(id)) {
        route::check_room(&draft, table)?;
    }
    for group in groups(snap, &list.id).filter_map(|id| snap.vpc().security_groups.get(id)) {
        security_group_rule::check_room(&draft, group)?;
    }
    Ok(())
}

fn name(text: &str) -> Result<String, Refusal> {
    if text.chars().count() > CHARS_MAX {
        return Err(invalid_value(text, "prefixListName", "It has more than 255 characters."));
    }
    if text.starts_with(RESERVED) {
        return Err(invalid_value(text, "prefixListName", "It cannot start with 'com.amazonaws'."));
    }
    Ok(text.to_owned())
}

fn max_entries(given: i32) -> Result<u32, Refusal> {
    let number = u32::try_from(given).ok().filter(|number| (1..=ENTRIES_MAX).contains(number));
    let why = format!("It must be between 1 and {ENTRIES_MAX}.");
    number.ok_or_else(|| invalid_value(&given.to_string(), "maxEntries", &why))
}

fn add(entries: &mut Vec<PrefixListEntry>, family: AddressFamily, added: &[AddPrefixListEntry]) -> Result<(), Refusal> {
    if added.len() > CHANGES_MAX {
        return Err(invalid(format!("A request can contain up to {CHANGES_MAX} entries.")));
    }
    for entry in added {
        let text = required(&entry.cidr, "cidr")?;
        let range = range(family, text)?;
        if entries.iter().any(|held| held.range == range) {
            return Err(invalid(format!("The prefix list has several entries with the CIDR {text}.")));
        }
        let description = entry.description.clone().filter(|description| !description.is_empty());
        if description.as_ref().is_some_and(|description| description.chars().count() > CHARS_MAX) {
            return Err(invalid("The description of an entry has more than 255 characters."));
        }
        entries.push(PrefixListEntry { range, description });
    }
    Ok(())
}

fn range(family: AddressFamily, text: &str) -> Result<AclRange, Refusal> {
    let range = match family {
        AddressFamily::Ipv4 => text.parse().ok().map(AclRange::Ipv4),
        AddressFamily::Ipv6 => text.parse().ok().map(AclRange::Ipv6),
    };
    range.ok_or_else(|| invalid_value(text, "cidr", "This is not a valid CIDR block of the prefix list's family."))
}

fn range_text(range: AclRange) -> String {
    match range {
        AclRange::Ipv4(cidr) => cidr.to_string(),
        AclRange::Ipv6(cidr) => cidr.to_string(),
    }
}

fn check_size(entries: &[PrefixListEntry], max: u32) -> Result<(), Refusal> {
    if entries.len() > max as usize {
        let words = "The maximum number of entries for the prefix list has been reached.";
        return Err(Refusal::new(Code::PrefixListMaxEntriesExceeded, words));
    }
    Ok(())
}

/// Makes a version with these entries the present one, and forgets the oldest when there are many.
fn next_version(list: &mut PrefixList, entries: Vec<PrefixListEntry>) {
    list.version += 1;
    list.versions.insert(list.version, entries);
    while list.versions.len() > VERSIONS_MAX {
        list.versions.pop_first();
    }
}

fn version_of(list: &PrefixList, version: i64) -> Result<&[PrefixListEntry], Refusal> {
    let found = u64::try_from(version).ok().and_then(|version| list.versions.get(&version));
    found.map(Vec::as_slice).ok_or_else(|| invalid(format!("The prefix list '{}' has no version {version}.", list.id)))
}

fn wrong_version() -> Refusal {
    Refusal::new(Code::PrefixListVersionMismatch, "The prefix list has the incorrect version number.")
}

static FILTERS: Filters<ManagedPrefixList> = Filters {
    rows: &[
        (&["owner-id"], |list| text(&list.owner_id)),
        (&["prefix-list-id"], |list| text(&list.prefix_list_id)),
        (&["prefix-list-name"], |list| text(&list.prefix_list_name)),
    ],
    tags: Some(|list| &list.tags),
};

/// The list as it is shown in the answer to the call that changes it.
fn in_progress(list: ManagedPrefixList, change: &str) -> ManagedPrefixList {
    ManagedPrefixList { state: Some(format!("{change}-in-progress")), ..list }
}

fn show(list: &PrefixList, env: &Env) -> ManagedPrefixList {
    let state = match list.state {
        PrefixListState::Created => "create-complete",
        PrefixListState::Modified => "modify-complete",
        PrefixListState::Restored => "restore-complete",
    };
    let family = match list.family {
        AddressFamily::Ipv4 => "IPv4",
        AddressFamily::Ipv6 => "IPv6",
    };
    ManagedPrefixList {
        address_family: Some(family.to_owned()),
        max_entries: i32::try_from(list.max_entries).ok(),
        owner_id: Some(env.account.clone()),
        prefix_list_arn: Some(env.arn("ec2", format_args!("prefix-list/{}", list.id))),
        prefix_list_id: Some(list.id.to_string()),
        prefix_list_name: Some(list.name.clone()),
        state: Some(state.to_owned()),
        tags: tags::show(&list.tags),
        version: i64::try_from(list.version).ok(),
        ..Default::default()
    }
}
