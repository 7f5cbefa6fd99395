//! E-mail: one message to one person, as plain text.

use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;

use super::webhook::causes;
use super::{NotTaken, Told};
use crate::config::notify::{Email, MailTls};
use crate::domain::email::EmailAddress;

/// What the mail's sender is called.
const SENDER: &str = "Spaceport";

/// The way to the mail server.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: EmailAddress,
}

impl Mailer {
    pub(super) fn new(settings: &Email, attempt: Duration) -> Result<Self, Error> {
        let host = settings.host.clone();
        let tls = match settings.tls {
            MailTls::StartTls => Tls::Required(TlsParameters::new(host.clone())?),
            MailTls::Tls => Tls::Wrapper(TlsParameters::new(host.clone())?),
            MailTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(attempt))
            .hello_name(ClientId::Domain(settings.from.domain().to_owned()));
        if let Some((user, password)) = &settings.login {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        Ok(Self { transport: builder.build(), from: settings.from.clone() })
    }

    pub(super) async fn send(&self, told: &Told, to: &EmailAddress) -> Result<(), NotTaken> {
        let message = self.message(told, to).map_err(NotTaken::for_good)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() || error.is_client() => {
                Err(NotTaken::for_good(causes(&error)))
            }
            Err(error) => Err(NotTaken::again(causes(&error))),
        }
    }

    pub(super) fn message(&self, told: &Told, to: &EmailAddress) -> Result<Message, String> {
        let address = |of: &EmailAddress| of.as_str().parse::<Address>().map_err(|error| error.to_string());
        // Out of offices and the like do not answer (RFC 3834, 5).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let text = told.notice.body().join("\n") + "\n";
        Message::builder()
            .from(Mailbox::new(Some(SENDER.to_owned()), address(&self.from)?))
            .to(Mailbox::new(None, address(to)?))
            .subject(told.notice.title())
            .date(SystemTime::from(told.at))
            .message_id(Some(format!("<{}@{}>", told.id, self.from.domain())))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            // Without it, readers take the text as it travels (RFC 2045, 4).
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())
    }
}
