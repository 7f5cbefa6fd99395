//! The Price List API, as far as Studio's prices need it: GetProducts. What it lists is an extract of the list's form:
//! rows of Studio's apps and volumes among rows of other parts of SageMaker, some free, some with odd instance types.

mod products;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cloud::Call;
use crate::error::ApiError;
use crate::sagemaker::schema::{self, Field, Shape, optional, required};
use crate::sigv4::{hex, hmac_sha256};

pub(crate) use products::{Product, Products};

/// The regions that answer.
const REGIONS: [&str; 3] = ["us-east-1", "eu-central-1", "ap-south-1"];
/// The most that a page holds here, whatever is asked for: AWS's pages may be shorter too.
const PAGE: usize = 20;

static TEXT: Shape = Shape::Text { min: 1, max: 1_024, pattern: None };
static FILTER: Shape = Shape::Struct(&[
    required("Type", &Shape::OneOf(&["TERM_MATCH", "EQUALS", "CONTAINS", "ANY_OF", "NONE_OF"])),
    required("Field", &TEXT),
    required("Value", &TEXT),
]);
static GET_PRODUCTS: &[Field] = &[
    required("ServiceCode", &Shape::Text { min: 0, max: usize::MAX, pattern: None }),
    optional("Filters", &Shape::List { of: &FILTER, max: 50 }),
    optional("FormatVersion", &Shape::Text { min: 1, max: 32, pattern: None }),
    optional("NextToken", &Shape::Text { min: 0, max: usize::MAX, pattern: None }),
    optional("MaxResults", &Shape::Int { min: 1, max: 100 }),
];

/// Runs one operation.
pub(crate) fn run(call: &mut Call<'_>) -> Result<Value, ApiError> {
    if call.operation != "GetProducts" {
        return Err(ApiError::unknown_operation());
    }
    if !REGIONS.contains(&call.region()) {
        let message = format!("Credential should be scoped to a valid region, not '{}'.", call.region());
        return Err(ApiError::new("InvalidSignatureException", message));
    }
    schema::check(GET_PRODUCTS, &mut call.input)?;
    call.authorize_new("pricing:GetProducts", "*", |_| {})?;
    if call.text("ServiceCode") != Some("AmazonSageMaker") {
        return Err(ApiError::new("InvalidParameterException", "The service code is invalid."));
    }
    if call.text("FormatVersion").is_some_and(|version| version != "aws_v1") {
        return Err(ApiError::new("InvalidParameterException", "The format version is invalid."));
    }
    let filters = call.input.get("Filters").and_then(Value::as_array).cloned().unwrap_or_default();
    let products = call.cloud.products();
    for filter in &filters {
        let field = filter["Field"].as_str().unwrap_or_default();
        if !products.knows(field) {
            let message = format!("The given attribute name '{field}' is invalid.");
            return Err(ApiError::new("InvalidParameterException", message));
        }
    }
    let found: Vec<String> = products
        .all()
        .iter()
        .filter(|product| filters.iter().all(|filter| matches(product, filter)))
        .map(|product| product.text.clone())
        .collect();
    drop(products);
    page(call, found)
}

fn matches(product: &Product, filter: &Value) -> bool {
    let text = |member: &str| filter[member].as_str().unwrap_or_default();
    let (value, wanted) = (product.attribute(text("Field")), text("Value"));
    let Some(value) = value else { return text("Type") == "NONE_OF" };
    match text("Type") {
        "CONTAINS" => value.contains(wanted),
        "ANY_OF" => wanted.split(',').any(|wanted| wanted == value),
        "NONE_OF" => wanted.split(',').all(|wanted| wanted != value),
        _ => value == wanted,
    }
}

fn page(call: &Call<'_>, found: Vec<String>) -> Result<Value, ApiError> {
    let mut question = call.input.clone();
    question.remove("NextToken");
    let question = Value::Object(question).to_string();
    let mac = |offset: usize| {
        hex(&hmac_sha256(call.cloud.page_secret.as_bytes(), format!("{offset} {question}").as_bytes()))
    };
    let from = match call.text("NextToken") {
        None => 0,
        Some(token) => {
            let read = || {
                let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
                let (sent, offset) = text.split_once('/')?;
                let offset = offset.parse().ok()?;
                (sent == mac(offset)).then_some(offset)
            };
            read().ok_or_else(|| ApiError::new("InvalidNextTokenException", "The token is invalid."))?
        }
    };
    let asked = call.input.get("MaxResults").and_then(Value::as_u64).map_or(PAGE, |n| n as usize);
    let until = from.saturating_add(asked.min(PAGE));
    let shown: Vec<&String> = found.iter().skip(from).take(until - from).collect();
    let mut answer = json!({ "FormatVersion": "aws_v1", "PriceList": shown });
    if until < found.len() {
        answer["NextToken"] = json!(URL_SAFE_NO_PAD.encode(format!("{}/{until}", mac(until))));
    }
    Ok(answer)
}
