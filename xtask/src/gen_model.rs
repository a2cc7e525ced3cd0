// SPDX-License-Identifier: Apache-2.0
//! Service models of botocore, and their part that the listed operations reach.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One service's model.
pub struct Model {
    /// Botocore's name of the service, such as `ec2`.
    pub service: String,
    document: Value,
}

impl Model {
    /// Reads `<service>/<newest version>/service-2.json[.gz]` in the first of the folders that has the service.
    pub fn read(folders: &[PathBuf], service: &str) -> Result<Model> {
        let mut places = folders.iter().map(|folder| folder.join(service));
        let folder = places
            .find(|place| place.is_dir())
            .with_context(|| format!("there is no model of {service} in the folders {folders:?}"))?;
        let mut versions: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        versions.sort();
        let newest = versions.last().with_context(|| format!("{} is empty", folder.display()))?;
        let text = read_maybe_gzip(newest)?;
        let document = serde_json::from_str(&text).with_context(|| format!("model in {}", newest.display()))?;
        Ok(Model { service: service.to_owned(), document })
    }

    /// A metadata value of the service, such as `protocol`; empty if the model does not have it.
    pub fn metadata(&self, key: &str) -> &str {
        self.document["metadata"][key].as_str().unwrap_or_default()
    }

    /// The operation with this name.
    pub fn operation(&self, name: &str) -> Result<&Value> {
        self.document["operations"]
            .get(name)
            .with_context(|| format!("the {} model has no operation {name}", self.service))
    }

    /// The shape with this name.
    pub fn shape(&self, name: &str) -> Result<&Value> {
        self.document["shapes"].get(name).with_context(|| format!("the {} model has no shape {name}", self.service))
    }

    /// Every exception of the service: error code and HTTP status.
    pub fn exceptions(&self) -> BTreeMap<String, u64> {
        let Some(shapes) = self.document["shapes"].as_object() else { return BTreeMap::new() };
        shapes
            .iter()
            .filter(|(_, shape)| shape["exception"].as_bool() == Some(true))
            .map(|(name, shape)| {
                let code = shape["error"]["code"].as_str().unwrap_or(name);
                let default = if shape["fault"].as_bool() == Some(true) { 500 } else { 400 };
                (code.to_owned(), shape["error"]["httpStatusCode"].as_u64().unwrap_or(default))
            })
            .collect()
    }

    /// The names of all structures that these operations' inputs and outputs reach.
    pub fn reachable<'a>(&self, operations: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>> {
        let mut todo = Vec::new();
        for name in operations {
            let operation = self.operation(name)?;
            todo.extend(["input", "output"].iter().filter_map(|end| shape_name(&operation[*end])));
        }
        let mut seen = BTreeSet::new();
        let mut structures = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if !seen.insert(name.to_owned()) {
                continue;
            }
            let shape = self.shape(name)?;
            match shape["type"].as_str().unwrap_or_default() {
                "structure" => {
                    if shape["document"].as_bool() == Some(true) {
                        bail!("{name} is a free-form document, which the generator does not know");
                    }
                    structures.insert(name.to_owned());
                    todo.extend(members(shape).filter_map(|(_, member)| shape_name(member)));
                }
                "list" => todo.extend(shape_name(&shape["member"])),
                "map" => todo.extend([&shape["key"], &shape["value"]].into_iter().filter_map(shape_name)),
                _ => {}
            }
        }
        Ok(structures)
    }

    /// True if a value of structure `from` can contain a `to` without a list or map between them.
    pub fn embeds(&self, from: &str, to: &str) -> bool {
        let mut todo = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if !seen.insert(name) {
                continue;
            }
            let Ok(shape) = self.shape(name) else { continue };
            for (_, member) in members(shape) {
                match shape_name(member) {
                    Some(inner) if inner == to => return true,
                    Some(inner) => todo.push(inner),
                    None => {}
                }
            }
        }
        false
    }
}

/// The shape to which a member, list item, input or output refers.
pub fn shape_name(reference: &Value) -> Option<&str> {
    reference["shape"].as_str()
}

/// The members of a structure.
pub fn members(shape: &Value) -> impl Iterator<Item = (&String, &Value)> {
    shape["members"].as_object().into_iter().flatten()
}

/// Names that the model requires in a structure.
pub fn required(shape: &Value) -> BTreeSet<&str> {
    shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The list of packages that `scripts/prepare` installs into `target/venv`.
const TOOLS: &str = "scripts/python-tools.txt";

/// The folder of botocore's models in `target/venv`. Fails unless botocore is installed there in the listed version:
/// the generated files must not depend on the machine.
pub fn data_folder(root: &Path) -> Result<PathBuf> {
    let list = std::fs::read_to_string(root.join(TOOLS)).with_context(|| format!("could not read {TOOLS}"))?;
    let version = version_of("botocore", &list).with_context(|| format!("{TOOLS} lists no version of botocore"))?;
    let python = std::fs::read_dir(root.join("target/venv/lib")).into_iter().flatten().flatten();
    python
        .map(|entry| entry.path().join("site-packages"))
        .find(|packages| packages.join(format!("botocore-{version}.dist-info")).is_dir())
        .map(|packages| packages.join("botocore/data"))
        .with_context(|| format!("target/venv has no botocore {version}; run scripts/prepare"))
}

/// The version after `name==` in a list of packages.
fn version_of<'a>(name: &str, list: &'a str) -> Option<&'a str> {
    list.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("==")).map(str::trim)
}

fn read_maybe_gzip(folder: &Path) -> Result<String> {
    let packed = folder.join("service-2.json.gz");
    let mut text = String::new();
    if packed.exists() {
        flate2::read::GzDecoder::new(std::fs::File::open(&packed)?).read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(folder.join("service-2.json"))
            .with_context(|| format!("{} holds no service-2.json", folder.display()))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_package_is_read_from_the_list() {
        let list = "# botocore==1\nbotocore-stubs==2\nboto3==3\nbotocore==1.44.8\n";
        assert_eq!(version_of("botocore", list), Some("1.44.8"));
        assert_eq!(version_of("pytest", list), None);
    }
}
