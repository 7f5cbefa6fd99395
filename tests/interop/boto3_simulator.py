#!/usr/bin/env python3
"""Drives every operation of the simulator with boto3, and judges every answer by botocore's models.

    boto3_simulator.py [--simulator PATH]        starts the simulator and drives it
    boto3_simulator.py --requests FILE           judges a log of requests that some client made: the answer of the
                                                 control API's GET /cloudtrail; `-` reads standard input

Needs the packages in requirements.txt. Ends with 1 if anything is wrong.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
import botocore
import botocore.config
import botocore.exceptions

import aws_model
import data_channel
import issuer

CONFIG = botocore.config.Config(retries={"max_attempts": 0, "mode": "standard"}, parameter_validation=False)
QUERY_SERVICES = ("sts",)


class Simulator:
    """A running simulator, and what was found wrong with its answers."""

    def __init__(self, path):
        self.folder = tempfile.TemporaryDirectory(prefix="simulator-")
        arguments = [path, "--scale", "2000", "--registration-lag", "0", "--folder", self.folder.name]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.account, self.region = self.ready["account"], self.ready["region"]
        self.domain = self.ready["domain"]
        self.faults, self.answers = [], 0
        self.models = {name: aws_model.service_model(name) for name in ("sagemaker", "sts", "ssm", "pricing")}

    def close(self):
        self.process.terminate()
        if self.process.wait(timeout=10) != 0:
            self.faults.append(f"the simulator ended with {self.process.returncode}")
        self.folder.cleanup()

    def client(self, service, key=None, region=None, config=CONFIG):
        key = key or {
            "aws_access_key_id": self.ready["access_key_id"],
            "aws_secret_access_key": self.ready["secret_access_key"],
        }
        client = boto3.client(
            service, region_name=region or self.region, endpoint_url=self.ready["aws_endpoint"], config=config, **key
        )
        client.meta.events.register(f"response-received.{service}", self.judge_answer(service))
        return client

    def judge_answer(self, service):
        model = self.models[service]

        def judge(event_name, response_dict, parsed_response, **_):
            if response_dict is None:
                return
            operation = event_name.rsplit(".")[-1]
            body, status = response_dict["body"], response_dict["status_code"]
            self.answers += 1
            headers = response_dict["headers"]
            if not headers.get("x-amzn-RequestId"):
                self.faults.append(f"{operation}: no request id")
            if status >= 300:
                if service not in QUERY_SERVICES:
                    self.faults += aws_model.error_faults(model, parsed_response, body, status)
                elif not parsed_response["Error"]["Code"] or parsed_response["Error"].get("Type") != "Sender":
                    self.faults.append(f"{operation}: error {body!r}")
            elif service in QUERY_SERVICES:
                self.faults += aws_model.query_answer_faults(model, operation, body)
            else:
                self.faults += aws_model.answer_faults(model, operation, body)

        return judge

    def control(self, method, path, body=None):
        request = urllib.request.Request(
            self.ready["control_endpoint"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.ready['control_token']}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def arn(self, kind, *names):
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{'/'.join((kind, self.domain) + names)}"

    def role(self, name):
        return f"arn:aws:iam::{self.account}:role/{name}"

    def expect(self, what, seen, wanted):
        if seen != wanted:
            self.faults.append(f"{what}: {seen!r} instead of {wanted!r}")

    def refused(self, code, call, **arguments):
        """Calls what must be refused with a code."""
        try:
            call(**arguments)
            self.faults.append(f"not refused with {code}: {arguments}")
        except botocore.exceptions.ClientError as error:
            self.expect(f"refusal of {arguments}", error.response["Error"]["Code"], code)

    def until(self, what, ready):
        """Waits for a state that the simulator reaches by itself."""
        deadline = time.monotonic() + 20
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.02)

    def become(self, owner, policy=None, **changes):
        arguments = {
            "RoleArn": self.role("gw-user"),
            "RoleSessionName": f"{owner}@example.org",
            "SourceIdentity": owner,
            "DurationSeconds": 900,
            "Tags": [{"Key": "gw-owner", "Value": owner}, {"Key": "gw-sub", "Value": "00u1"}],
            "TransitiveTagKeys": ["gw-sub"],
        }
        if policy is not None:
            arguments["Policy"] = json.dumps(policy)
        return self.client("sts").assume_role(**(arguments | changes))["Credentials"]

    def as_person(self, service, credentials):
        key = {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }
        return self.client(service, key)


def drive_reads(simulator):
    sagemaker, domain = simulator.client("sagemaker"), simulator.domain
    simulator.expect("domains", [d["DomainId"] for d in sagemaker.list_domains()["Domains"]], [domain])
    sagemaker.describe_domain(DomainId=domain)
    profiles = sagemaker.list_user_profiles(DomainIdEquals=domain)["UserProfiles"]
    simulator.expect("profiles", sorted(p["UserProfileName"] for p in profiles), ["alice", "bo", "carol"])
    sagemaker.describe_user_profile(DomainId=domain, UserProfileName="alice")
    for page_size in (1, 3, 100):
        pages = sagemaker.get_paginator("list_spaces").paginate(PaginationConfig={"PageSize": page_size})
        simulator.expect("spaces", len([space for page in pages for space in page["Spaces"]]), 10)
    for space in sagemaker.list_spaces()["Spaces"]:
        sagemaker.describe_space(DomainId=domain, SpaceName=space["SpaceName"])
    for app in sagemaker.list_apps(DomainIdEquals=domain)["Apps"]:
        sagemaker.describe_app(
            DomainId=domain, SpaceName=app["SpaceName"], AppType=app["AppType"], AppName=app["AppName"]
        )
    tags = sagemaker.list_tags(ResourceArn=simulator.arn("space", "demo"))["Tags"]
    simulator.expect("tags", tags, [{"Key": "gw-owner", "Value": "alice"}])
    sagemaker.add_tags(ResourceArn=simulator.arn("space", "team"), Tags=[{"Key": "gw-owner", "Value": "bo"}])


def drive_prices(simulator):
    pricing = simulator.client("pricing", region="us-east-1")
    wanted = {"regionCode": simulator.region, "platoinstancetype": "Studio-JupyterLab"}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    question = {"ServiceCode": "AmazonSageMaker", "Filters": filters, "FormatVersion": "aws_v1"}
    for page_size in (7, 100):
        pages = pricing.get_paginator("get_products").paginate(PaginationConfig={"PageSize": page_size}, **question)
        rows = [json.loads(row) for page in pages for row in page["PriceList"]]
        simulator.expect("prices", len(rows), 25)
        for row in rows:
            found = {name: row["product"]["attributes"][name] for name in wanted}
            simulator.expect("attributes", found, wanted)
    refused = simulator.refused
    refused("InvalidParameterException", pricing.get_products, ServiceCode="SageMaker")
    refused("ValidationException", pricing.get_products)
    refused("InvalidNextTokenException", pricing.get_products, NextToken="made up", **question)
    refused("InvalidSignatureException", simulator.client("pricing").get_products, **question)


def drive_refusals(simulator):
    sagemaker, domain = simulator.client("sagemaker"), simulator.domain
    refused = simulator.refused
    refused("ValidationException", sagemaker.list_spaces, MaxResults=101)
    refused("ValidationException", sagemaker.list_spaces, NextToken="made up")
    refused("ValidationException", sagemaker.describe_space, DomainId=domain)
    refused("ValidationException", sagemaker.describe_domain, DomainId="D-1")
    refused("ResourceNotFound", sagemaker.describe_space, DomainId=domain, SpaceName="none")
    refused("ResourceNotFound", sagemaker.describe_domain, DomainId="d-none")
    refused("ResourceNotFound", sagemaker.describe_user_profile, DomainId=domain, UserProfileName="eve")
    refused("UnknownOperationException", sagemaker.list_notebook_instances)
    refused("AccessDeniedException", sagemaker.start_session, ResourceIdentifier=simulator.arn("space", "demo"))
    refused("AccessDeniedException", sagemaker.delete_space, DomainId=domain, SpaceName="demo")
    try:
        sagemaker.describe_space(DomainId=domain, SpaceName="none")
    except sagemaker.exceptions.ResourceNotFound:
        pass


def drive_forgeries(simulator):
    ready, region = simulator.ready, simulator.region
    good = (ready["access_key_id"], ready["secret_access_key"])
    wrong = {"aws_access_key_id": good[0], "aws_secret_access_key": "x" * 40}
    unknown = {"aws_access_key_id": "AKIANOBODYATALL00000", "aws_secret_access_key": good[1]}
    stray = {"aws_access_key_id": good[0], "aws_secret_access_key": good[1], "aws_session_token": "stray"}
    for key, json_code, query_code in (
        (wrong, "InvalidSignatureException", "SignatureDoesNotMatch"),
        (unknown, "UnrecognizedClientException", "InvalidClientTokenId"),
        (stray, "UnrecognizedClientException", "InvalidClientTokenId"),
    ):
        simulator.refused(json_code, simulator.client("sagemaker", key).list_spaces)
        simulator.refused(query_code, simulator.client("sts", key).get_caller_identity)
    elsewhere = simulator.client("sagemaker", region="us-east-1" if region != "us-east-1" else "eu-west-1")
    simulator.expect("domains elsewhere", elsewhere.list_domains()["Domains"], [])
    simulator.control("PUT", "/clock", {"offset_seconds": 600})
    simulator.refused("InvalidSignatureException", simulator.client("sagemaker").list_spaces)
    simulator.control("PUT", "/clock", {"offset_seconds": 0})


def drive_sts(simulator):
    sts = simulator.client("sts")
    simulator.expect("account", sts.get_caller_identity()["Account"], simulator.account)
    credentials = simulator.become("alice")
    arn = simulator.as_person("sts", credentials).get_caller_identity()["Arn"]
    simulator.expect("arn", arn, f"arn:aws:sts::{simulator.account}:assumed-role/gw-user/alice@example.org")
    for code, changes in (
        ("AccessDenied", {"RoleArn": simulator.role("nobody")}),
        ("AccessDenied", {"Tags": [], "TransitiveTagKeys": []}),
        ("InvalidParameterValue", {"TransitiveTagKeys": ["other"]}),
        ("ValidationError", {"DurationSeconds": 7200}),
        ("ValidationError", {"RoleSessionName": "a b"}),
        ("ValidationError", {"Policy": " " * 2049}),
        ("MalformedPolicyDocument", {"Policy": "{}"}),
    ):
        simulator.refused(code, lambda changes=changes: simulator.become("alice", **changes))
    simulator.control("POST", "/credentials/expire", {"access_key_id": credentials["AccessKeyId"]})
    simulator.refused("ExpiredToken", simulator.as_person("sts", credentials).get_caller_identity)
    simulator.refused(
        "ExpiredTokenException",
        simulator.as_person("sagemaker", credentials).start_session,
        ResourceIdentifier=simulator.arn("space", "demo"),
    )


def drive_web_identity(simulator):
    """A person's own ID token instead of the service's key: boto3 sends it unsigned."""
    provider, everything = issuer.Issuer("spaceport"), "sts:AssumeRoleWithWebIdentity"
    registered = {"account": simulator.account, "url": provider.url, "client_ids": ["spaceport"]}
    arn = simulator.control("POST", "/oidc-providers", registered)["arn"]
    trust = f"/roles/{simulator.account}/gw-probe/trust"
    simulator.control("PUT", trust, {
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": arn},
            "Action": [everything, "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {"StringEquals": {f"{provider.name}:aud": "spaceport", f"{provider.name}:sub": "00u1-anna"}},
        }],
    })
    unsigned = simulator.client("sts", config=CONFIG.merge(botocore.config.Config(signature_version=botocore.UNSIGNED)))

    def become(token, **changes):
        arguments = {"RoleArn": simulator.role("gw-probe"), "RoleSessionName": "alice", "WebIdentityToken": token}
        return unsigned.assume_role_with_web_identity(**(arguments | changes))

    answer = become(provider.token())
    simulator.expect("subject", answer["SubjectFromWebIdentityToken"], "00u1-anna")
    simulator.expect("provider", (answer["Provider"], answer["Audience"]), (provider.url, "spaceport"))
    simulator.expect("source identity", answer["SourceIdentity"], "alice")
    sagemaker = simulator.as_person("sagemaker", answer["Credentials"])
    # Not to demo, whose sessions drive_sessions counts: one that nobody opens counts, too.
    sagemaker.start_session(ResourceIdentifier=simulator.arn("space", "team"))
    for code, token, changes in (
        ("ExpiredTokenException", provider.token(exp=int(time.time()) - 1), {}),
        ("InvalidIdentityToken", provider.token(aud="another"), {}),
        ("InvalidIdentityToken", provider.token(iss="https://elsewhere.example.com"), {}),
        ("InvalidIdentityToken", provider.forged(), {}),
        ("InvalidIdentityToken", "an.access.token", {}),
        ("AccessDenied", provider.token(sub="00u2"), {}),
        ("ValidationError", provider.token(), {"DurationSeconds": 3601}),
        ("MalformedPolicyDocument", provider.token(), {"Policy": "{}"}),
    ):
        simulator.refused(code, lambda token=token, changes=changes: become(token, **changes))
    large = {"principal_tags": {f"tag-{n}": ["x" * 60] for n in range(40)}}
    tagged = provider.token(**{"https://aws.amazon.com/tags": large})
    simulator.refused("PackedPolicyTooLarge", lambda: become(tagged))
    provider.close()
    simulator.refused("IDPCommunicationError", lambda: become(provider.token()))


def start_policy(simulator, space):
    """The inline policy with which a gateway starts one space."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"sagemaker:{a}" for a in ("DescribeSpace", "UpdateSpace", "CreateApp", "DeleteApp")],
                "Resource": [simulator.arn("space", space), simulator.arn("app", space, "*")],
            }
        ],
    }


def drive_app(simulator):
    domain = simulator.domain
    alice = simulator.as_person("sagemaker", simulator.become("alice", start_policy(simulator, "stopped")))
    reader = simulator.client("sagemaker")
    app = {"DomainId": domain, "SpaceName": "stopped", "AppType": "JupyterLab", "AppName": "default"}

    def status(wanted):
        return lambda: reader.describe_app(**app)["Status"] == wanted

    space = {"DomainId": domain, "SpaceName": "stopped"}
    settings = {"JupyterLabAppSettings": {"DefaultResourceSpec": {"InstanceType": "ml.m5.large"}}}
    simulator.refused("ValidationException", alice.update_space, **space, SpaceSettings={"AppType": "JupyterLab"})
    alice.update_space(**space, SpaceSettings=settings, SpaceDisplayName="Stopped no more")
    simulator.until("InService", lambda: alice.describe_space(**space)["Status"] == "InService")
    alice.create_app(**app)
    simulator.refused("ResourceInUse", alice.create_app, **app)
    simulator.until("the app in service", status("InService"))
    simulator.expect("type", reader.describe_app(**app)["ResourceSpec"]["InstanceType"], "ml.m5.large")
    alice.delete_app(**app)
    simulator.until("the app deleted", status("Deleted"))
    simulator.refused("ResourceNotFound", alice.delete_app, **app)
    simulator.refused("AccessDeniedException", alice.create_app, **(app | {"SpaceName": "small"}))
    for name, code in (("over-quota", "ResourceLimitExceeded"), ("bo-private", "AccessDeniedException")):
        person = simulator.as_person("sagemaker", simulator.become("alice"))
        simulator.refused(code, person.create_app, **(app | {"SpaceName": name}))


def drive_spaces(simulator):
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    simulator.control("PUT", f"/roles/{simulator.account}/gateway-service/policy", everything)
    sagemaker, space = simulator.client("sagemaker"), {"DomainId": simulator.domain, "SpaceName": "made-by-boto"}
    new = space | {
        "OwnershipSettings": {"OwnerUserProfileName": "carol"},
        "SpaceSharingSettings": {"SharingType": "Private"},
        "SpaceSettings": {"AppType": "CodeEditor", "RemoteAccess": "ENABLED"},
        "Tags": [{"Key": "gw-owner", "Value": "carol"}],
    }
    sagemaker.create_space(**new)
    simulator.refused("ResourceInUse", sagemaker.create_space, **new)
    simulator.until("the space", lambda: sagemaker.describe_space(**space)["Status"] == "InService")
    sagemaker.delete_space(**space)
    simulator.until("the space's end", lambda: simulator.control("GET", "/spaces") and not any(
        found["SpaceName"] == "made-by-boto" for found in sagemaker.list_spaces(MaxResults=100)["Spaces"]
    ))
    simulator.refused("ResourceNotFound", sagemaker.delete_space, **space)


def drive_sessions(simulator):
    credentials = simulator.become("alice")
    sagemaker, ssm = simulator.as_person("sagemaker", credentials), simulator.as_person("ssm", credentials)
    demo = {"ResourceIdentifier": simulator.arn("space", "demo")}
    session = sagemaker.start_session(**demo)
    simulator.expect("cell number", session["StreamUrl"].endswith("==") and "+" in session["StreamUrl"], True)
    resumed = ssm.resume_session(SessionId=session["SessionId"])
    simulator.expect("a new token", resumed["TokenValue"] != session["TokenValue"], True)
    simulator.refused("AccessDeniedException", ssm.terminate_session, SessionId=session["SessionId"])
    simulator.refused("DoesNotExistException", ssm.resume_session, SessionId="nobody-0")
    for _ in range(9):
        sagemaker.start_session(**demo)
    simulator.refused("ResourceLimitExceeded", sagemaker.start_session, **demo)
    for code in ("ThrottlingException", "InternalFailure", "ServiceUnavailable"):
        simulator.control("POST", "/faults/fail", {"operation": "StartSession", "error": code})
        simulator.refused(code, sagemaker.start_session, **demo)


def drive_streams(simulator):
    credentials, bo = simulator.become("alice"), simulator.become("bo")
    only_start = start_policy(simulator, "gpu")
    only_start["Statement"][0] |= {"Action": "sagemaker:StartSession"}
    narrowed = simulator.become("alice", only_start)
    gpu = {"ResourceIdentifier": simulator.arn("space", "gpu")}
    url = simulator.as_person("sagemaker", credentials).start_session(**gpu)["StreamUrl"]

    def status(keys):
        return data_channel.open_status(url, data_channel.signed_headers(url, keys, simulator.region))

    simulator.expect("unsigned", data_channel.open_status(url), 403)
    simulator.expect("without OpenDataChannel", status(narrowed), 403)
    simulator.expect("with a wrong secret", status(credentials | {"SecretAccessKey": "x"}), 403)
    simulator.expect("with another's token", status(credentials | {"SessionToken": bo["SessionToken"]}), 403)
    simulator.expect("signed", status(credentials), 101)
    opened = simulator.control("GET", "/cloudtrail?name=OpenDataChannel")["events"]
    simulator.expect("events of opening", len([event for event in opened if not event["errorCode"]]), 1)
    simulator.control("PATCH", "/switches", {"presigned_urls": True})
    presigned = simulator.as_person("sagemaker", credentials).start_session(**gpu)["StreamUrl"]
    simulator.expect("presigned", data_channel.open_status(presigned), 101)
    simulator.control("PATCH", "/switches", {"presigned_urls": False, "unsigned_open": True})
    url = simulator.as_person("sagemaker", credentials).start_session(**gpu)["StreamUrl"]
    simulator.expect("unsigned where allowed", data_channel.open_status(url), 101)
    simulator.control("PATCH", "/switches", {"unsigned_open": False})


PARTS = (
    drive_reads, drive_prices, drive_refusals, drive_forgeries, drive_sts, drive_web_identity, drive_app, drive_sessions, drive_streams, drive_spaces,
)


def drive(path):
    simulator = Simulator(path)
    try:
        for part in PARTS:
            part(simulator)
        log = simulator.control("GET", "/cloudtrail")
        # boto3's own requests that were answered are good ones by its own model.
        log["events"] = [event for event in log["events"] if not event["errorCode"]]
        judged, faults = aws_model.log_faults(log)
        simulator.faults += faults
    finally:
        simulator.close()
    print(f"{simulator.answers} answers and {judged} requests judged")
    return simulator.faults


def judge_requests(path):
    with sys.stdin if path == "-" else open(path, encoding="utf-8") as file:
        judged, faults = aws_model.log_faults(json.load(file))
    print(f"{judged} requests judged")
    return faults if judged else ["there is no request of SageMaker in the log"]


def main():
    root = os.path.join(os.path.dirname(__file__), "..", "..")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulator", default=os.path.join(target, "debug", "studio-simulator"))
    parser.add_argument("--requests", metavar="FILE")
    arguments = parser.parse_args()
    faults = judge_requests(arguments.requests) if arguments.requests else drive(arguments.simulator)
    for fault in faults:
        print("wrong:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
