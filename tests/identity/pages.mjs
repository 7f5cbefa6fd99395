// The provider's own pages: plain HTML forms, for a browser and for an HTTP client that keeps cookies.

export const escape = (text) =>
  String(text).replace(/[&<>"']/g, (found) => `&#${found.codePointAt(0)};`);

const page = (title, body) => `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title></head>
<body><main><h1>${escape(title)}</h1>
${body}
</main></body></html>
`;

export const signIn = (uid, hint, problem) => page('Sign in', `${problem ? `<p role="alert">${escape(problem)}</p>` : ''}
<form name="signin" method="post" action="/interaction/${escape(uid)}">
<label>Login <input name="login" autocomplete="username" value="${escape(hint ?? '')}" required autofocus></label>
<button type="submit">Sign in</button>
</form>`);

// `form` comes from the provider and carries its own protection against forgery.
export const signOut = (form) => page('Sign out', form.replace(
  '</form>',
  '<input type="hidden" name="logout" value="yes"><button type="submit">Sign out</button></form>',
));

export const said = (title, text) => page(title, `<p>${escape(text)}</p>`);
