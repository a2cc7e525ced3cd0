// SPDX-License-Identifier: Apache-2.0
//! Image records: names for content, and roots of the garbage collector.

use std::collections::HashMap;

use berth_types::TimestampMs;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};

use super::client::{CALL_LIMIT, Containerd, WORK_LIMIT, call};
use super::content::Descriptor;
use crate::Fault;

impl Containerd {
    /// The target of a name.
    pub async fn image_target(&self, name: &str) -> Result<Option<Descriptor>, Fault> {
        let request = self.request(GetImageRequest { name: name.to_owned() });
        match call("Images.Get", name, CALL_LIMIT, ImagesClient::new(self.channel.clone()).get(request)).await {
            Ok(answer) => Ok(answer.image.and_then(|image| image.target).map(|target| Descriptor {
                media_type: target.media_type,
                digest: target.digest,
                size: target.size,
            })),
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Every name and the digest it points to.
    pub async fn images(&self) -> Result<Vec<(String, String)>, Fault> {
        let request = self.request(ListImagesRequest { filters: Vec::new() });
        let mut client = ImagesClient::new(self.channel.clone());
        let answer = call("Images.List", "", CALL_LIMIT, client.list(request)).await?;
        let named = |image: Image| image.target.map(|target| (image.name, target.digest));
        Ok(answer.images.into_iter().filter_map(named).collect())
    }

    /// Every name and when it was pointed to its content.
    pub async fn image_ages(&self) -> Result<Vec<(String, TimestampMs)>, Fault> {
        let request = self.request(ListImagesRequest { filters: Vec::new() });
        let mut client = ImagesClient::new(self.channel.clone());
        let answer = call("Images.List", "", CALL_LIMIT, client.list(request)).await?;
        let age = |image: Image| {
            let at = image.updated_at.or(image.created_at).map_or(0, |at| at.seconds * 1000);
            (image.name, TimestampMs(at))
        };
        Ok(answer.images.into_iter().map(age).collect())
    }

    /// Forgets a name; what only it held goes with it.
    pub async fn remove_image(&self, name: &str) -> Result<(), Fault> {
        let request = self.request(DeleteImageRequest { name: name.to_owned(), sync: true, target: None });
        let mut client = ImagesClient::new(self.channel.clone());
        crate::fault::absent_is_fine(call("Images.Delete", name, WORK_LIMIT, client.delete(request)).await.map(drop))
    }

    /// Points a name to content.
    pub async fn set_image(&self, name: &str, target: &Descriptor) -> Result<(), Fault> {
        let image = Image {
            name: name.to_owned(),
            labels: HashMap::new(),
            target: Some(target.clone().into()),
            created_at: None,
            updated_at: None,
        };
        let mut client = ImagesClient::new(self.channel.clone());
        let create = CreateImageRequest { image: Some(image.clone()), source_date_epoch: None };
        match call("Images.Create", name, CALL_LIMIT, client.create(self.request(create))).await {
            Err(fault) if fault.is_taken() => {
                let mask = prost_types::FieldMask { paths: vec!["target".to_owned()] };
                let update =
                    UpdateImageRequest { image: Some(image), update_mask: Some(mask), source_date_epoch: None };
                call("Images.Update", name, CALL_LIMIT, client.update(self.request(update))).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}
