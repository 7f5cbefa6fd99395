"""Judges requests and answers by botocore's own copy of AWS's API models.

botocore's parsers forgive: unknown members are dropped, wrong types pass through. This module does not: every member
of an answer must be known, of the right type, within its limits, and those that AWS always sends must be there.
"""

import json
import re
import xml.etree.ElementTree as ElementTree

import botocore.loaders
import botocore.model
import botocore.validate

# Members that the model leaves optional but AWS always answers.
ALWAYS = {
    "ListDomains": ["Domains"],
    "ListUserProfiles": ["UserProfiles"],
    "ListSpaces": ["Spaces"],
    "ListApps": ["Apps"],
    "ListTags": ["Tags"],
    "AddTags": ["Tags"],
    "DescribeDomain": ["DomainArn", "DomainId", "DomainName", "Status", "CreationTime", "AuthMode", "Url",
                       "AppNetworkAccessType", "VpcId", "SubnetIds", "DefaultUserSettings"],
    "DescribeUserProfile": ["DomainId", "UserProfileArn", "UserProfileName", "Status", "CreationTime"],
    "DescribeSpace": ["DomainId", "SpaceArn", "SpaceName", "Status", "CreationTime", "SpaceSettings"],
    "DescribeApp": ["AppArn", "AppType", "AppName", "DomainId", "Status", "CreationTime", "ResourceSpec"],
    "CreateSpace": ["SpaceArn"],
    "UpdateSpace": ["SpaceArn"],
    "CreateApp": ["AppArn"],
    "StartSession": ["SessionId", "StreamUrl", "TokenValue"],
    "AssumeRole": ["Credentials", "AssumedRoleUser"],
    "GetCallerIdentity": ["UserId", "Account", "Arn"],
    "ResumeSession": ["SessionId"],
    "GetProducts": ["FormatVersion", "PriceList"],
}


def service_model(name):
    """The model of a service, as botocore ships it."""
    loaded = botocore.loaders.create_loader().load_service_model(name, "service-2")
    return botocore.model.ServiceModel(loaded, name)


def answer_faults(model, operation, body):
    """What is wrong with a JSON answer of an operation, as a list of texts."""
    shape = model.operation_model(operation).output_shape
    if shape is None:
        return [] if body in (b"", b"{}") else [f"{operation}: no body expected, got {body!r}"]
    return _output_faults(operation, shape, json.loads(body), _json_faults)


def query_answer_faults(model, operation, body):
    """What is wrong with an XML answer of the Query protocol."""
    root = ElementTree.fromstring(body)
    namespace = model.metadata["xmlNamespace"]
    if root.tag != f"{{{namespace}}}{operation}Response":
        return [f"{operation}: root element {root.tag}"]
    result = root.find(f"{{{namespace}}}{operation}Result")
    if result is None:
        return [f"{operation}: no result element"]
    faults = [] if root.find(f".//{{{namespace}}}RequestId") is not None else [f"{operation}: no RequestId"]
    return faults + _output_faults(operation, model.operation_model(operation).output_shape, result, _xml_faults)


def _output_faults(operation, shape, value, judge):
    present = value if isinstance(value, dict) else {child.tag.rsplit("}")[-1] for child in value}
    missing = [f"{operation}.{member}: missing" for member in ALWAYS.get(operation, []) if member not in present]
    return missing + judge(shape, value, operation)


def _json_faults(shape, value, at):
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no object"]
        faults = [f"{at}.{name}: required" for name in shape.required_members if name not in value]
        for name, member in value.items():
            if name not in shape.members:
                faults.append(f"{at}.{name}: unknown to the model")
            else:
                faults += _json_faults(shape.members[name], member, f"{at}.{name}")
        return faults
    if kind == "list":
        if not isinstance(value, list):
            return [f"{at}: {value!r} is no list"]
        faults = _limit_faults(shape, len(value), at)
        for index, member in enumerate(value):
            faults += _json_faults(shape.member, member, f"{at}[{index}]")
        return faults
    return _scalar_faults(shape, value, at)


def _scalar_faults(shape, value, at):
    kind = shape.type_name
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "string":
        return _text_faults(shape, value, at) if isinstance(value, str) else [f"{at}: {value!r} is no text"]
    if kind == "timestamp":
        # JSON 1.1 writes time as seconds since 1970; milliseconds would be far in the future.
        fine = number and 1_000_000_000 < value < 10_000_000_000
        return [] if fine else [f"{at}: {value!r} is no time in seconds"]
    if kind in ("integer", "long"):
        if not number or isinstance(value, float):
            return [f"{at}: {value!r} is no whole number"]
        return _limit_faults(shape, value, at)
    if kind == "boolean":
        return [] if isinstance(value, bool) else [f"{at}: {value!r} is no boolean"]
    return [f"{at}: this judge does not know {kind}"]


def _text_faults(shape, value, at):
    faults = _limit_faults(shape, len(value), at)
    if shape.enum and value not in shape.enum:
        faults.append(f"{at}: {value!r} is not one of {shape.enum}")
    pattern = shape.metadata.get("pattern")
    # Java's classes for letters are not Python's; those patterns are left out.
    if pattern and r"\p{" not in pattern and r"\u" not in pattern and not re.fullmatch(pattern, value):
        faults.append(f"{at}: {value!r} does not match {pattern}")
    return faults


def _limit_faults(shape, size, at):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        return [f"{at}: {size} is below {least}"]
    if most is not None and size > most:
        return [f"{at}: {size} is above {most}"]
    return []


def _xml_faults(shape, element, at):
    if shape.type_name != "structure":
        text = element.text or ""
        if shape.type_name == "integer":
            return [] if text.isdigit() else [f"{at}: {text!r} is no whole number"]
        if shape.type_name == "timestamp":
            fine = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text)
            return [] if fine else [f"{at}: {text!r} is no time"]
        return _text_faults(shape, text, at)
    names = [child.tag.rsplit("}")[-1] for child in element]
    faults = [f"{at}.{name}: required" for name in shape.required_members if name not in names]
    for name, child in zip(names, element):
        if name not in shape.members:
            faults.append(f"{at}.{name}: unknown to the model")
        else:
            faults += _xml_faults(shape.members[name], child, f"{at}.{name}")
    return faults


def error_faults(model, parsed, body, status):
    """What is wrong with a JSON error, given botocore's reading of it."""
    sent = json.loads(body)
    code = parsed["Error"]["Code"]
    faults = [] if 400 <= status < 600 else [f"{code}: status {status}"]
    if set(sent) - {"__type", "message", "Message"}:
        faults.append(f"{code}: unknown members in {sent}")
    if sent.get("__type", "").split("#")[-1] != code or not parsed["Error"]["Message"]:
        faults.append(f"{code}: read from {sent}")
    modelled = {shape.error_code for shape in model.error_shapes}
    if code.startswith("Resource") and code not in modelled:
        faults.append(f"{code}: looks modelled but is not")
    if code in modelled and model.service_name == "sagemaker" and "Message" not in sent:
        faults.append(f"{code}: a modelled error spells its member Message")
    return faults


def request_faults(model, operation, body):
    """What is wrong with a request's JSON body: botocore's own validation, and members that the model has not."""
    try:
        shape = model.operation_model(operation).input_shape
    except botocore.model.OperationNotFoundError:
        return [f"{operation}: unknown operation"]
    report = botocore.validate.ParamValidator().validate(body, shape)
    faults = [f"{operation}: {report.generate_report()}"] if report.has_errors() else []
    return faults + _json_faults(shape, body, operation)


def log_faults(log):
    """Judges the SageMaker requests in a log of the simulator's control API (`GET /cloudtrail`)."""
    model = service_model("sagemaker")
    faults, judged = [], 0
    for event in log["events"]:
        if event["eventSource"] == "sagemaker.amazonaws.com":
            judged += 1
            faults += request_faults(model, event["eventName"], event["requestParameters"])
    return judged, faults
