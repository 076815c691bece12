//! Who may vote, and in which groups.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::OperatorId;

use super::PolicyError;
use super::file::{self, Attribute, PolicyFile};
use crate::quorum::Group;

/// An enrolled operator, and what the policy says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Who.
    pub operator: OperatorId,
    /// What the policy calls it.
    pub name: String,
    attributes: BTreeMap<Attribute, String>,
}

/// A member of a group by its place.
#[derive(Clone, Copy)]
enum Member {
    Operator(usize),
    Group(usize),
}

impl Voter {
    /// What the policy says of it.
    pub fn attribute(&self, attribute: Attribute) -> Option<&str> {
        self.attributes.get(&attribute).map(String::as_str)
    }
}

/// The operators in the order of their names.
pub(super) fn voters(operators: &[file::Operator]) -> Result<Vec<Voter>, PolicyError> {
    let (mut keys, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut voters = Vec::with_capacity(operators.len());
    for operator in operators {
        check_name(&operator.name)?;
        if !keys.insert(operator.key) || !names.insert(&operator.name) {
            return Err(PolicyError::DuplicateOperator(operator.name.clone()));
        }
        voters.push(Voter { operator: operator.key, name: operator.name.clone(), attributes: operator.attributes() });
    }
    voters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(voters)
}

pub(super) fn check_name(name: &str) -> Result<(), PolicyError> {
    let plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
    let valid = (1..=64).contains(&name.len()) && name.chars().all(plain);
    if valid { Ok(()) } else { Err(PolicyError::OperatorName(name.chars().take(100).collect())) }
}

/// The tree of groups, every group before its members. The first is the policy itself: whatever is in no
/// other group.
pub(super) fn groups(file: &PolicyFile, voters: &[Voter]) -> Result<Vec<Group>, PolicyError> {
    let operators = voters.iter().enumerate().map(|(at, voter)| (voter.name.as_str(), Member::Operator(at)));
    let mut named: BTreeMap<&str, Member> = operators.collect();
    for (at, group) in file.group.iter().enumerate() {
        check_name(&group.name)?;
        if named.insert(&group.name, Member::Group(at)).is_some() {
            return Err(PolicyError::DuplicateGroup(group.name.clone()));
        }
    }
    let mut free = named.clone();
    for group in &file.group {
        check_group(group, &named, &mut free)?;
    }
    let top = Group::of(String::new(), file.threshold, free.into_values());
    Ok(in_order(top, file, &named)).and_then(|tree| match in_no_tree(file, &tree) {
        Some(group) => Err(PolicyError::Cycle(group)),
        None => Ok(tree),
    })
}

fn check_group(group: &file::Group, named: &BTreeMap<&str, Member>, free: &mut BTreeMap<&str, Member>) -> Result<(), PolicyError> {
    let members = group.members.len();
    if !(1..=members).contains(&group.k) {
        return Err(PolicyError::GroupThreshold { name: group.name.clone(), k: group.k, members });
    }
    for member in &group.members {
        if !named.contains_key(member.as_str()) {
            let member = member.chars().take(100).collect();
            return Err(PolicyError::UnknownMember { group: group.name.clone(), member });
        }
        if free.remove(member.as_str()).is_none() {
            return Err(PolicyError::SharedMember(member.clone()));
        }
    }
    Ok(())
}

/// Groups of the file get the places in which they are reached from the top.
fn in_order(top: Group, file: &PolicyFile, named: &BTreeMap<&str, Member>) -> Vec<Group> {
    let mut tree = vec![top];
    let mut at = 0;
    while at < tree.len() {
        for inner in 0..tree[at].groups.len() {
            let group = &file.group[tree[at].groups[inner]];
            let members = group.members.iter().filter_map(|name| named.get(name.as_str()).copied());
            tree[at].groups[inner] = tree.len();
            tree.push(Group::of(group.name.clone(), group.k, members));
        }
        at += 1;
    }
    tree
}

/// Everything has one place at most, so what the top does not reach goes round in a circle.
fn in_no_tree(file: &PolicyFile, tree: &[Group]) -> Option<String> {
    let reached: BTreeSet<_> = tree.iter().map(|group| group.name.as_str()).collect();
    file.group.iter().find(|group| !reached.contains(group.name.as_str())).map(|group| group.name.clone())
}

impl Group {
    fn of(name: String, k: usize, members: impl Iterator<Item = Member>) -> Self {
        let (mut operators, mut groups) = (Vec::new(), Vec::new());
        for member in members {
            match member {
                Member::Operator(at) => operators.push(at),
                Member::Group(at) => groups.push(at),
            }
        }
        Self { name, k, operators, groups }
    }
}
