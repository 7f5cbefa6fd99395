//! GetProducts is as strict as AWS's.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, SERVICE_ROLE};
use crate::testing::{Answer, Lab, TestResult};

async fn products(lab: &Lab, input: Value) -> anyhow::Result<Answer> {
    lab.json_in("us-east-1", &lab.service(), "pricing", "AWSPriceListService.GetProducts", input).await
}

fn filters(pairs: &[(&str, &str, &str)]) -> Value {
    pairs.iter().map(|(kind, field, value)| json!({ "Type": kind, "Field": field, "Value": value })).collect()
}

const JUPYTER: [(&str, &str, &str); 2] =
    [("TERM_MATCH", "regionCode", "eu-west-1"), ("TERM_MATCH", "platoinstancetype", "Studio-JupyterLab")];

#[tokio::test(start_paused = true)]
async fn rows_come_in_pages_as_texts_of_json() -> TestResult {
    let lab = Lab::new().await?;
    let mut seen = BTreeSet::new();
    let mut token = Value::Null;
    loop {
        let input = json!({
            "ServiceCode": "AmazonSageMaker", "Filters": filters(&JUPYTER), "MaxResults": 7, "NextToken": token,
        });
        let answer = products(&lab, input).await?;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        for text in answer.body["PriceList"].as_array().into_iter().flatten() {
            let row: Value = serde_json::from_str(text.as_str().unwrap_or_default())?;
            let attributes = &row["product"]["attributes"];
            assert_eq!(attributes["platoinstancetype"], "Studio-JupyterLab");
            seen.insert(attributes["usagetype"].to_string());
        }
        token = answer.body["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_aws_refuses_is_refused() -> TestResult {
    let lab = Lab::new().await?;
    let code = async |input: Value| anyhow::Ok(products(&lab, input).await?.code().to_owned());
    assert_eq!(code(json!({})).await?, "ValidationException");
    assert_eq!(code(json!({ "ServiceCode": "SageMaker" })).await?, "InvalidParameterException");
    let service = |more: Value| {
        let mut input = json!({ "ServiceCode": "AmazonSageMaker" });
        input.as_object_mut().into_iter().for_each(|input| {
            input.extend(more.as_object().cloned().unwrap_or_default());
        });
        input
    };
    let odd = filters(&[("TERM_MATCH", "region", "x")]);
    assert_eq!(code(service(json!({ "Filters": odd }))).await?, "InvalidParameterException");
    let like = filters(&[("LIKE", "regionCode", "x")]);
    assert_eq!(code(service(json!({ "Filters": like }))).await?, "ValidationException");
    assert_eq!(code(service(json!({ "NextToken": "x" }))).await?, "InvalidNextTokenException");
    assert_eq!(code(service(json!({ "MaxResults": 101 }))).await?, "ValidationException");
    assert_eq!(code(service(json!({ "Region": "eu" }))).await?, "SerializationException");

    let good = service(json!({ "Filters": filters(&JUPYTER) }));
    let here = lab.json(&lab.service(), "pricing", "AWSPriceListService.GetProducts", good.clone()).await?;
    assert_eq!(here.code(), "InvalidSignatureException", "only some regions answer");
    lab.simulator.fail_next("GetProducts", "ThrottlingException", 1);
    assert_eq!(code(good.clone()).await?, "ThrottlingException");
    lab.simulator.deny_action(ACCOUNT, SERVICE_ROLE, "pricing:GetProducts")?;
    assert_eq!(code(good).await?, "AccessDeniedException");
    Ok(())
}
