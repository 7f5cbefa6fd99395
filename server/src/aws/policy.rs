//! Inline session policies: what a role session may do, down to one space.

use serde::Serialize;

use super::roles::Purpose;
use crate::domain::space::SpaceArn;

/// What STS takes, in characters of plain text (STS API, AssumeRole, `Policy`).
#[cfg(test)]
pub(super) const LONGEST: usize = 2_048;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: &'static str,
    action: &'static [&'static str],
    resource: Vec<String>,
}

fn allow(action: &'static [&'static str], resource: Vec<String>) -> Statement {
    Statement { effect: "Allow", action, resource }
}

/// The policy for one purpose on one space, as JSON.
pub(super) fn session_policy(purpose: Purpose, arn: &SpaceArn) -> String {
    let SpaceArn { partition, region, account, domain, name } = arn;
    let statement = match purpose {
        Purpose::Open => vec![
            allow(&["sagemaker:StartSession"], vec![arn.to_string()]),
            // The session's id is not known before it is started.
            allow(
                &["ssmmessages:OpenDataChannel", "ssm:ResumeSession"],
                vec![format!("arn:{partition}:ssm:{region}:{account}:session/*")],
            ),
        ],
        // An app is created and deleted in the name of its space, too.
        Purpose::Start => vec![allow(
            &[
                "sagemaker:DescribeSpace",
                "sagemaker:UpdateSpace",
                "sagemaker:CreateApp",
                "sagemaker:DeleteApp",
            ],
            vec![
                arn.to_string(),
                format!("arn:{partition}:sagemaker:{region}:{account}:app/{domain}/{name}/*/default"),
            ],
        )],
    };
    let policy = Policy { version: "2012-10-17", statement };
    // Plain structs of text cannot fail to serialise; STS refuses an empty policy, so nothing is widened if they did.
    serde_json::to_string(&policy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn(name: &str) -> SpaceArn {
        format!("arn:aws:sagemaker:us-east-1:111111111111:space/d-abc/{name}").parse().unwrap()
    }

    #[test]
    fn open_allows_the_one_space_and_its_streams() {
        assert_eq!(
            session_policy(Purpose::Open, &arn("fraud-gnn")),
            concat!(
                r#"{"Version":"2012-10-17","Statement":["#,
                r#"{"Effect":"Allow","Action":["sagemaker:StartSession"],"#,
                r#""Resource":["arn:aws:sagemaker:us-east-1:111111111111:space/d-abc/fraud-gnn"]},"#,
                r#"{"Effect":"Allow","Action":["ssmmessages:OpenDataChannel","ssm:ResumeSession"],"#,
                r#""Resource":["arn:aws:ssm:us-east-1:111111111111:session/*"]}]}"#,
            )
        );
    }

    #[test]
    fn start_allows_the_one_space_and_its_apps() {
        assert_eq!(
            session_policy(Purpose::Start, &arn("fraud-gnn")),
            concat!(
                r#"{"Version":"2012-10-17","Statement":["#,
                r#"{"Effect":"Allow","Action":["sagemaker:DescribeSpace","sagemaker:UpdateSpace","#,
                r#""sagemaker:CreateApp","sagemaker:DeleteApp"],"#,
                r#""Resource":["arn:aws:sagemaker:us-east-1:111111111111:space/d-abc/fraud-gnn","#,
                r#""arn:aws:sagemaker:us-east-1:111111111111:app/d-abc/fraud-gnn/*/default"]}]}"#,
            )
        );
    }

    #[test]
    fn the_longest_names_fit() {
        let longest = SpaceArn {
            partition: "aws-us-gov".to_owned(),
            region: "us-gov-northwest-10".parse().unwrap(),
            account: "111111111111".parse().unwrap(),
            domain: format!("d-{}", "x".repeat(61)).parse().unwrap(),
            name: "x".repeat(63).parse().unwrap(),
        };
        for purpose in [Purpose::Open, Purpose::Start] {
            assert!(session_policy(purpose, &longest).len() <= LONGEST);
        }
    }
}
