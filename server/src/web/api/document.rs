//! The OpenAPI document: what `utoipa` gathered from the operations, and what is true of all of them.

use axum::http::Method;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, InfoBuilder, License, ObjectBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Server,
    Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::ROOT;
use super::admit::{Need, Needs};
use super::keyed::KEY;
use super::problem::Details;
use crate::domain::scope::Scope;

/// What the scheme of tokens is called.
const TOKEN: &str = "token";
/// Problems that every operation may answer with.
const ALWAYS: [(&str, &str); 6] = [
    ("400", "The request cannot be read"),
    ("401", "There is no token, or it lets nobody in"),
    ("403", "The token lacks the scope, or the access policy says no"),
    ("404", "There is no such thing, or not for you"),
    (
        "429",
        "The person's tokens, or this operation, are asked too often; Retry-After says when to ask again",
    ),
    ("503", "The database is away, the gateway restarts, or spaces are not watched"),
];
/// Those of operations that change something, besides.
const CHANGING: [(&str, &str); 5] = [
    ("409", "It cannot be done now, or a request with the same idempotency key is being carried out"),
    ("413", "The request is too large"),
    ("415", "The request is no JSON"),
    ("422", "The request cannot be carried out as it is, or its idempotency key belongs to another"),
    ("502", "AWS did not do it"),
];

/// What each operation needs, as the document says it. An operation that does not say which scope it needs
/// is for admins only: see the test.
pub(super) fn needs(document: &OpenApi) -> Needs {
    let mut needs = Needs::new();
    for (path, method, operation) in operations(document) {
        let scope = scope_of(operation).unwrap_or(Some(Scope::PeopleWrite));
        let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                Some(parameter.name.clone())
            }
            _ => None,
        });
        let parameters = parameters.collect();
        needs.insert((method, format!("{ROOT}{path}")), Need { scope, parameters });
    }
    needs
}

/// The scope that an operation names; nothing inside if it takes any token; nothing at all if it says nothing.
fn scope_of(operation: &Operation) -> Option<Option<Scope>> {
    let value = serde_json::to_value(operation.security.as_ref()?.first()?).ok()?;
    let scopes = value.get(TOKEN)?.as_array()?;
    match scopes.as_slice() {
        [] => Some(None),
        [one] => Some(Some(one.as_str()?.parse().ok()?)),
        _ => None,
    }
}

fn operations(document: &OpenApi) -> impl Iterator<Item = (&String, Method, &Operation)> {
    document.paths.paths.iter().flat_map(|(path, item)| {
        let found = [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::DELETE, &item.delete),
            (Method::PATCH, &item.patch),
        ];
        found.into_iter().filter_map(move |(method, operation)| Some((path, method, operation.as_ref()?)))
    })
}

/// The document as it is served.
pub(super) fn finished(mut document: OpenApi) -> String {
    document.info = InfoBuilder::new()
        .title("Spaceport")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "What the pages of a Spaceport gateway show and do, for programs. Send a token, which people make on the \
             page Tokens, as `Authorization: Bearer TOKEN`; each operation names the scope that it needs, and what \
             the token's person may not see is not found. Lists come in pages: ask again with `cursor` set to the \
             `next` of the last. Times are RFC 3339 in UTC, amounts are decimal numbers in text.",
        ))
        .license(Some(License::new("Apache-2.0")))
        .build();
    document.servers = Some(vec![Server::new(ROOT)]);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of a person's, made on the page Tokens."))
        .build();
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Details::name().into_owned(), Details::schema());
    components.security_schemes.insert(TOKEN.to_owned(), SecurityScheme::Http(scheme).into());
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get].into_iter().flatten() {
            answers(operation, &ALWAYS);
        }
        for operation in
            [&mut item.post, &mut item.put, &mut item.delete, &mut item.patch].into_iter().flatten()
        {
            answers(operation, &ALWAYS);
            answers(operation, &CHANGING);
            operation.parameters.get_or_insert_default().push(idempotency_key().into());
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                body.required.get_or_insert(Required::True);
            }
        }
    }
    document.to_json().unwrap_or_default()
}

/// Adds what an operation may answer with, where it does not say so itself.
fn answers(operation: &mut Operation, problems: &[(&str, &str)]) {
    for (status, words) in problems {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| {
            let content = Content::new(Some(Ref::from_schema_name(Details::name())));
            let response = ResponseBuilder::new().description(*words);
            response.content("application/problem+json", content).build().into()
        });
    }
}

fn idempotency_key() -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(200));
    ParameterBuilder::new()
        .name(KEY.as_str())
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Any text of your own for this one request. Should its answer get lost, send it again with the same key: \
             it is carried out once, and answered as the first time for a day.",
        ))
        .schema(Some(text.pattern(Some("^[!-~]([ -~]*[!-~])?$")).build()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::api;

    #[test]
    fn every_operation_says_which_scope_it_needs() {
        let document = api::operations().split_for_parts().1;
        let silent: Vec<_> = operations(&document)
            .filter(|(_, _, operation)| scope_of(operation).is_none())
            .map(|(path, method, _)| format!("{method} {path}"))
            .collect();
        assert_eq!(silent, Vec::<String>::new());
        assert_eq!(needs(&document).len(), operations(&document).count());
    }
}
