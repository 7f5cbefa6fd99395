//! The products of the price list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// On-demand prices of Studio's apps in us-east-1, in thousandths of a dollar an hour.
const TYPES: &[(&str, u64)] = &[
    ("ml.t3.medium", 50),
    ("ml.t3.large", 100),
    ("ml.t3.xlarge", 200),
    ("ml.m5.large", 115),
    ("ml.m5.xlarge", 230),
    ("ml.m5.2xlarge", 461),
    ("ml.m5.4xlarge", 922),
    ("ml.m5.8xlarge", 1_843),
    ("ml.m5.12xlarge", 2_765),
    ("ml.c5.large", 102),
    ("ml.c5.xlarge", 204),
    ("ml.c5.2xlarge", 408),
    ("ml.c5.4xlarge", 816),
    ("ml.r5.large", 151),
    ("ml.r5.xlarge", 302),
    ("ml.r5.2xlarge", 605),
    ("ml.g4dn.xlarge", 736),
    ("ml.g4dn.2xlarge", 940),
    ("ml.g5.xlarge", 1_410),
    ("ml.g5.2xlarge", 1_515),
    ("ml.g5.4xlarge", 2_030),
    ("ml.g5.12xlarge", 7_090),
    ("ml.g5.48xlarge", 20_360),
    ("ml.p4d.24xlarge", 25_250),
];
/// Regions, the mark of each in usage types, and its prices in percent of us-east-1's.
const REGIONS: &[(&str, &str, u64)] =
    &[("us-east-1", "USE1-", 100), ("eu-west-1", "EU-", 110), ("eu-central-1", "EUC1-", 115)];
/// Parts of SageMaker, each with its `platoinstancetype` and its part of a usage type.
const PLATFORMS: &[(&str, &str)] = &[
    ("Studio-JupyterLab", "Studio:JupyterLab"),
    ("studio-codeeditor", "Studio:CodeEditor"),
    ("Training", "Train"),
];

/// A product with its terms.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    attributes: BTreeMap<String, String>,
    /// What the answer holds: JSON, as a text.
    pub(crate) text: String,
}

impl Product {
    fn new(attributes: &[(&str, &str)], unit: &str, usd: &str) -> Self {
        let attributes: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sku = crate::sigv4::sha256_hex(format!("{attributes:?}").as_bytes()).to_uppercase();
        let sku = sku.get(..16).unwrap_or_default();
        let (offer, rate) = (format!("{sku}.JRTCKXETXF"), format!("{sku}.JRTCKXETXF.6YS6EN2CT7"));
        let text = json!({
            "product": { "productFamily": "ML Instance", "attributes": attributes, "sku": sku },
            "serviceCode": "AmazonSageMaker",
            "terms": { "OnDemand": { (offer): {
                "priceDimensions": { (rate.clone()): {
                    "unit": unit, "endRange": "Inf", "beginRange": "0", "appliesTo": [],
                    "description": format!("${usd} per {unit}"), "rateCode": rate, "pricePerUnit": { "USD": usd },
                } },
                "sku": sku, "effectiveDate": "2026-08-01T00:00:00Z", "offerTermCode": "JRTCKXETXF",
                "termAttributes": {},
            } } },
            "version": "20260824000000", "publicationDate": "2026-08-24T00:00:00Z",
        });
        Self { attributes, text: text.to_string() }
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// Everything that is listed.
#[derive(Debug)]
pub(crate) struct Products {
    all: Vec<Product>,
    fields: BTreeSet<String>,
}

impl Default for Products {
    fn default() -> Self {
        let mut all = Vec::new();
        for (region, mark, percent) in REGIONS {
            for (platform, usage) in PLATFORMS {
                for (index, (instance, milli_usd)) in TYPES.iter().enumerate() {
                    let usage = format!("{mark}{usage}-{instance}");
                    // The list writes types in several ways.
                    let shown = match index % 4 {
                        0 => (*instance).to_owned(),
                        1 => format!("{instance}-{platform}"),
                        2 => "NA".to_owned(),
                        _ => String::new(),
                    };
                    all.push(studio((region, platform), (&shown, &usage), milli_usd * percent * 10));
                }
                let free = format!("{mark}{usage}-ml.t3.medium.free");
                all.push(studio((region, platform), ("ml.t3.medium", &free), 0));
            }
            let usage = format!("{mark}Studio:VolumeUsage.gp3");
            let attributes = [("regionCode", *region), ("usagetype", &usage), ("operation", "")];
            all.push(Product::new(&attributes, "GB-Mo", &dollars(112 * percent * 10)));
        }
        let fields = all.iter().flat_map(|product| product.attributes.keys().cloned()).collect();
        Self { all, fields }
    }
}

fn studio((region, platform): (&str, &str), (instance, usage): (&str, &str), micro_usd: u64) -> Product {
    let attributes = [
        ("regionCode", region),
        ("platoinstancetype", platform),
        ("instanceType", instance),
        ("usagetype", usage),
        ("operation", "RunInstance"),
    ];
    Product::new(&attributes, "Hrs", &dollars(micro_usd))
}

/// As the list writes dollars.
fn dollars(micro_usd: u64) -> String {
    format!("{}.{:06}0000", micro_usd / 1_000_000, micro_usd % 1_000_000)
}

impl Products {
    pub(crate) fn all(&self) -> &[Product] {
        &self.all
    }

    /// Whether there is such an attribute.
    pub(crate) fn knows(&self, field: &str) -> bool {
        self.fields.contains(field)
    }

    /// Lists a thing at another price: what is listed of it now goes.
    pub(crate) fn set(&mut self, region: &str, platform: &str, instance: &str, usd: &str) {
        let is_it = |product: &Product| {
            product.attribute("regionCode") == Some(region)
                && product.attribute("platoinstancetype") == Some(platform)
                && product
                    .attribute("usagetype")
                    .is_some_and(|usage| usage.ends_with(&format!("-{instance}")))
        };
        self.all.retain(|product| !is_it(product));
        let usage = format!("XX-{platform}-{instance}");
        let attributes = [
            ("regionCode", region),
            ("platoinstancetype", platform),
            ("instanceType", instance),
            ("usagetype", usage.as_str()),
        ];
        self.all.push(Product::new(&attributes, "Hrs", usd));
    }

    /// Lists something with a text of one's own, which need not be JSON.
    pub(crate) fn add_text(&mut self, attributes: &Value, text: &str) {
        let attributes = attributes.as_object().into_iter().flatten();
        let attributes =
            attributes.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        self.all.push(Product { attributes: attributes.collect(), text: text.to_owned() });
    }

    /// Lists nothing any more.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }
}
