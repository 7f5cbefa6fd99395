-- Which user of IAM Identity Center a user profile was made for, where a domain's rule of ownership asks.

CREATE TABLE user_profiles (
    domain   text NOT NULL REFERENCES domains (alias),
    name     text NOT NULL,
    sso_user text,
    read_at  timestamptz NOT NULL,
    PRIMARY KEY (domain, name)
);
COMMENT ON TABLE user_profiles IS 'User profiles that own spaces, as DescribeUserProfile last showed them.';
COMMENT ON COLUMN user_profiles.sso_user IS 'SingleSignOnUserValue; none where the profile was made for nobody of IAM Identity Center, or is gone.';
