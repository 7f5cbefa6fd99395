//! AWS's price list: `GetProducts` of the Price List API, and what its rows say.
//!
//! Which platform stands for which app, and that instance types may be missing or suffixed there, is seen in the list
//! itself; that a volume's usage type ends in `Studio:VolumeUsage.gp3`, on bills.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_pricing::types::{Filter, FilterType};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Aws;
use super::calls::{Repeat, timeouts};
use super::clients::DomainClients;
use super::errors::from_sagemaker;
use crate::config::Domain;
use crate::domain::ids::Region;
use crate::domain::money::nano_usd;
use crate::domain::ports::{AwsError, PriceLists};
use crate::domain::price::{ListedPrice, PriceList, Usage, VOLUME};

const OPERATION: &str = "pricing:GetProducts";
/// The most that a page holds.
const PAGE: i32 = 100;
/// One of the few regions that answer for all (AWS Billing User Guide, "Using the AWS Price List Query API").
const HOME: &str = "us-east-1";

/// What is asked for each usage: an attribute, how it is compared, and its value.
const QUESTIONS: [(Usage, &str, FilterType, &str); 3] = [
    (Usage::JupyterLab, "platoinstancetype", FilterType::TermMatch, "Studio-JupyterLab"),
    (Usage::CodeEditor, "platoinstancetype", FilterType::TermMatch, "studio-codeeditor"),
    (Usage::Storage, "usagetype", FilterType::Contains, "Studio:VolumeUsage.gp3"),
];

/// A client for a domain's account, from what its other clients share.
pub(super) fn client(config: &Domain, shared: aws_sdk_pricing::config::Builder) -> aws_sdk_pricing::Client {
    let mut settings = shared
        .behavior_version(aws_sdk_pricing::config::BehaviorVersion::latest())
        .region(aws_sdk_pricing::config::Region::new(HOME))
        .timeout_config(timeouts())
        .retry_config(Repeat::Yes.config());
    settings.set_endpoint_url(config.endpoints.pricing.clone());
    aws_sdk_pricing::Client::from_conf(settings.build())
}

#[async_trait]
impl PriceLists for Aws {
    async fn price_list(&self, region: &Region) -> Result<PriceList, AwsError> {
        let domain = self.inner.domains.iter().find(|domain| domain.config.region == *region);
        let domain =
            domain.ok_or_else(|| AwsError::NotFound(format!("a domain in {region} in the configuration")))?;
        let mut list = PriceList::default();
        for (usage, attribute, comparison, value) in QUESTIONS {
            let filters = [
                filter("regionCode", FilterType::TermMatch, region.as_str())?,
                filter(attribute, comparison, value)?,
            ];
            let asked = domain.observed(OPERATION, products(domain, filters)).await;
            match asked {
                Ok(products) => collect(usage, &products, &mut list),
                // A comparison that the service does not take must not cost the prices of apps.
                Err(AwsError::Invalid(_)) if usage == Usage::Storage => list.malformed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(list)
    }
}

fn filter(field: &str, comparison: FilterType, value: &str) -> Result<Filter, AwsError> {
    let filter = Filter::builder().field(field).r#type(comparison).value(value).build();
    filter.map_err(|error| AwsError::Invalid(error.to_string()))
}

/// Every row that answers, each a text of JSON.
async fn products(domain: &DomainClients, filters: [Filter; 2]) -> Result<Vec<String>, AwsError> {
    let request = domain.pricing.get_products().service_code("AmazonSageMaker").format_version("aws_v1");
    let request = request.set_filters(Some(filters.into()));
    let mut pages = request.into_paginator().page_size(PAGE).send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| from_sagemaker(OPERATION, &error))?;
        all.extend(page.price_list.unwrap_or_default());
    }
    Ok(all)
}

/// Adds what rows say to a list. Of two prices of one thing the higher counts, and one is malformed.
fn collect(usage: Usage, products: &[String], list: &mut PriceList) {
    let mut found = BTreeMap::<String, ListedPrice>::new();
    for product in products {
        match read(usage, product) {
            Row::Price(price) => match found.get_mut(&price.item) {
                None => drop(found.insert(price.item.clone(), price)),
                Some(before) if before.nano_usd == price.nano_usd => {}
                Some(before) => {
                    list.malformed += 1;
                    if before.nano_usd < price.nano_usd {
                        *before = price;
                    }
                }
            },
            Row::Free => {}
            Row::Malformed => list.malformed += 1,
        }
    }
    list.prices.extend(found.into_values());
}

/// What a row says.
#[derive(Debug, PartialEq)]
enum Row {
    Price(ListedPrice),
    /// It costs nothing: a free tier, which is not what anybody pays.
    Free,
    Malformed,
}

fn read(usage: Usage, product: &str) -> Row {
    let Ok(product) = serde_json::from_str::<Value>(product) else { return Row::Malformed };
    let attribute =
        |name: &str| product.pointer(&format!("/product/attributes/{name}")).and_then(Value::as_str);
    let item = match usage {
        Usage::Storage => Some(VOLUME.to_owned()),
        Usage::JupyterLab | Usage::CodeEditor => {
            ["instanceType", "usagetype"].into_iter().find_map(|name| instance_type(attribute(name)?))
        }
    };
    let unit = if usage == Usage::Storage { "gb-mo" } else { "hr" };
    let offers = product.pointer("/terms/OnDemand").and_then(Value::as_object);
    let (Some(item), Some(offers)) = (item, offers) else { return Row::Malformed };
    let mut best: Option<ListedPrice> = None;
    let mut free = false;
    for offer in offers.values() {
        let effective_at = offer.get("effectiveDate").and_then(Value::as_str);
        let effective_at = effective_at.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
        let dimensions = offer.get("priceDimensions").and_then(Value::as_object);
        for dimension in dimensions.into_iter().flat_map(|dimensions| dimensions.values()) {
            let text = |pointer| dimension.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let in_unit = text("/unit").to_ascii_lowercase().starts_with(unit);
            let Some(nano_usd) = nano_usd(text("/pricePerUnit/USD")).filter(|_| in_unit) else { continue };
            free |= nano_usd == 0;
            if nano_usd > best.as_ref().map_or(0, |best| best.nano_usd) {
                best = Some(ListedPrice { usage, item: item.clone(), nano_usd, effective_at });
            }
        }
    }
    match (best, free) {
        (Some(price), _) => Row::Price(price),
        (None, true) => Row::Free,
        (None, false) => Row::Malformed,
    }
}

/// The instance type in a text such as `ml.g5.xlarge`, `ml.g5.xlarge-JupyterLab` or
/// `USE1-Studio:JupyterLab-ml.g5.xlarge`.
fn instance_type(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("ml.")?;
    let (family, rest) = rest.split_once('.')?;
    let size: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let well = !family.is_empty() && family.chars().all(plain) && !size.is_empty();
    well.then(|| format!("ml.{family}.{size}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn product(instance: &str, usagetype: &str, usd: &str) -> String {
        json!({
            "product": { "attributes": { "instanceType": instance, "usagetype": usagetype } },
            "terms": { "OnDemand": { "A.B": {
                "effectiveDate": "2026-08-01T00:00:00Z",
                "priceDimensions": { "A.B.C": { "unit": "Hrs", "pricePerUnit": { "USD": usd } } },
            } } },
        })
        .to_string()
    }

    fn listed(products: &[String]) -> (Vec<(String, i64)>, usize) {
        let mut list = PriceList::default();
        collect(Usage::JupyterLab, products, &mut list);
        (list.prices.into_iter().map(|price| (price.item, price.nano_usd)).collect(), list.malformed)
    }

    #[test]
    fn types_are_found_however_the_list_writes_them() {
        let usage = "USE1-Studio:JupyterLab-ml.m7i.48xlarge";
        for (instance, found) in [
            ("ml.m7i.48xlarge", "ml.m7i.48xlarge"),
            ("ml.m7i.48xlarge-Studio", "ml.m7i.48xlarge"),
            ("", "ml.m7i.48xlarge"),
            ("NA", "ml.m7i.48xlarge"),
            ("ml.p6-b200.48xlarge-JupyterLab", "ml.p6-b200.48xlarge"),
        ] {
            let (prices, malformed) = listed(&[product(instance, usage, "11.6121600000")]);
            assert_eq!((prices, malformed), (vec![(found.to_owned(), 11_612_160_000)], 0), "{instance}");
        }
    }

    #[test]
    fn free_rows_are_left_out_and_malformed_ones_counted() {
        let m5 = |usd| product("ml.m5.large", "", usd);
        assert_eq!(listed(&[m5("0.0000000000")]), (vec![], 0));
        for malformed in ["{".to_owned(), "[]".to_owned(), m5("-1"), m5("cheap"), product("NA", "x", "1")] {
            assert_eq!(listed(std::slice::from_ref(&malformed)), (vec![], 1), "{malformed}");
        }
        let yuan = m5("1").replace("USD", "CNY");
        let gigabytes = m5("1").replace("Hrs", "GB");
        assert_eq!(listed(&[yuan, gigabytes]), (vec![], 2));
        let twice = [m5("0.1"), m5("0.2"), m5("0.2"), m5("0")];
        assert_eq!(listed(&twice), (vec![("ml.m5.large".to_owned(), 200_000_000)], 1));
    }
}
