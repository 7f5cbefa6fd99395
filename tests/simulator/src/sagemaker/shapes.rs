//! The inputs of the operations that are simulated, from SageMaker's public model.

use super::instance_types::APP_INSTANCE_TYPES;
use super::patterns as p;
use super::schema::{Field, Pattern, Shape, optional, required};

const fn text(max: usize, pattern: &'static Pattern) -> Shape {
    Shape::Text { min: 0, max, pattern: Some(pattern) }
}

static NAME: Shape = text(63, &p::NAME);
static DOMAIN_ID: Shape = text(63, &p::DOMAIN_ID);
static NEXT_TOKEN: Shape = Shape::Text { min: 0, max: 8192, pattern: None };
static MAX_RESULTS: Shape = Shape::Int { min: 1, max: 100 };
static SORT_ORDER: Shape = Shape::OneOf(&["Ascending", "Descending"]);
static BY_TIMES: Shape = Shape::OneOf(&["CreationTime", "LastModifiedTime"]);
static BY_CREATION: Shape = Shape::OneOf(&["CreationTime"]);
static FEATURE: Shape = Shape::OneOf(&["ENABLED", "DISABLED"]);
static FLAG: Shape = Shape::Flag;
static APP_TYPE: Shape = Shape::OneOf(&[
    "JupyterServer",
    "KernelGateway",
    "DetailedProfiler",
    "TensorBoard",
    "CodeEditor",
    "JupyterLab",
    "RStudioServerPro",
    "RSessionGateway",
    "Canvas",
]);

static TAG: Shape = Shape::Struct(&[
    required("Key", &Shape::Text { min: 1, max: 128, pattern: Some(&p::TAG) }),
    required("Value", &Shape::Text { min: 0, max: 256, pattern: Some(&p::TAG) }),
]);
static TAGS: Shape = Shape::List { of: &TAG, max: 50 };

static LIFECYCLE_ARN: Shape = text(256, &p::LIFECYCLE_ARN);
static RESOURCE_SPEC: Shape = Shape::Struct(&[
    optional("SageMakerImageArn", &text(256, &p::IMAGE_ARN)),
    optional("SageMakerImageVersionArn", &text(256, &p::IMAGE_VERSION_ARN)),
    optional("SageMakerImageVersionAlias", &Shape::Text { min: 1, max: 128, pattern: Some(&p::IMAGE_ALIAS) }),
    optional("InstanceType", &Shape::OneOf(APP_INSTANCE_TYPES)),
    optional("LifecycleConfigArn", &LIFECYCLE_ARN),
    optional("TrainingPlanArn", &text(2048, &p::TRAINING_PLAN_ARN)),
]);

static LIFECYCLE_ARNS: Shape = Shape::List { of: &LIFECYCLE_ARN, max: usize::MAX };
static REPOSITORIES: Shape =
    Shape::List { of: &Shape::Struct(&[required("RepositoryUrl", &text(1024, &p::REPOSITORY))]), max: 10 };
static CUSTOM_IMAGES: Shape = Shape::List {
    of: &Shape::Struct(&[
        required("ImageName", &Shape::Text { min: 1, max: 63, pattern: None }),
        optional("ImageVersionNumber", &Shape::Int { min: 0, max: i32::MAX as i64 }),
        required("AppImageConfigName", &NAME),
    ]),
    max: 200,
};
static IDLE: Shape = Shape::Struct(&[optional(
    "IdleSettings",
    &Shape::Struct(&[optional("IdleTimeoutInMinutes", &Shape::Int { min: 60, max: 525_600 })]),
)]);
static FILE_SYSTEM: Shape = Shape::Struct(&[required(
    "FileSystemId",
    &Shape::Text { min: 11, max: 21, pattern: Some(&p::FILE_SYSTEM) },
)]);
static CUSTOM_FILE_SYSTEMS: Shape = Shape::List {
    of: &Shape::Struct(&[
        optional("EFSFileSystem", &FILE_SYSTEM),
        optional("FSxLustreFileSystem", &FILE_SYSTEM),
        optional("S3FileSystem", &Shape::Struct(&[required("S3Uri", &text(1024, &p::S3_URI))])),
    ]),
    max: 5,
};
static SPACE_SETTINGS: Shape = Shape::Struct(&[
    optional(
        "JupyterServerAppSettings",
        &Shape::Struct(&[
            optional("DefaultResourceSpec", &RESOURCE_SPEC),
            optional("LifecycleConfigArns", &LIFECYCLE_ARNS),
            optional("CodeRepositories", &REPOSITORIES),
        ]),
    ),
    optional(
        "KernelGatewayAppSettings",
        &Shape::Struct(&[
            optional("DefaultResourceSpec", &RESOURCE_SPEC),
            optional("CustomImages", &CUSTOM_IMAGES),
            optional("LifecycleConfigArns", &LIFECYCLE_ARNS),
        ]),
    ),
    optional(
        "CodeEditorAppSettings",
        &Shape::Struct(&[
            optional("DefaultResourceSpec", &RESOURCE_SPEC),
            optional("AppLifecycleManagement", &IDLE),
        ]),
    ),
    optional(
        "JupyterLabAppSettings",
        &Shape::Struct(&[
            optional("DefaultResourceSpec", &RESOURCE_SPEC),
            optional("CodeRepositories", &REPOSITORIES),
            optional("AppLifecycleManagement", &IDLE),
        ]),
    ),
    optional("AppType", &APP_TYPE),
    optional(
        "SpaceStorageSettings",
        &Shape::Struct(&[optional(
            "EbsStorageSettings",
            &Shape::Struct(&[required("EbsVolumeSizeInGb", &Shape::Int { min: 5, max: 16_384 })]),
        )]),
    ),
    optional("SpaceManagedResources", &FEATURE),
    optional("CustomFileSystems", &CUSTOM_FILE_SYSTEMS),
    optional("RemoteAccess", &FEATURE),
]);
static DISPLAY_NAME: Shape = text(64, &p::NOT_BLANK);

static LIST_DOMAINS: &[Field] = &[optional("NextToken", &NEXT_TOKEN), optional("MaxResults", &MAX_RESULTS)];
static DESCRIBE_DOMAIN: &[Field] = &[required("DomainId", &DOMAIN_ID)];
static LIST_USER_PROFILES: &[Field] = &[
    optional("NextToken", &NEXT_TOKEN),
    optional("MaxResults", &MAX_RESULTS),
    optional("SortOrder", &SORT_ORDER),
    optional("SortBy", &BY_TIMES),
    optional("DomainIdEquals", &DOMAIN_ID),
    optional("UserProfileNameContains", &NAME),
];
static DESCRIBE_USER_PROFILE: &[Field] =
    &[required("DomainId", &DOMAIN_ID), required("UserProfileName", &NAME)];
static LIST_SPACES: &[Field] = &[
    optional("NextToken", &NEXT_TOKEN),
    optional("MaxResults", &MAX_RESULTS),
    optional("SortOrder", &SORT_ORDER),
    optional("SortBy", &BY_TIMES),
    optional("DomainIdEquals", &DOMAIN_ID),
    optional("SpaceNameContains", &NAME),
];
/// DescribeSpace and DeleteSpace.
static ONE_SPACE: &[Field] = &[required("DomainId", &DOMAIN_ID), required("SpaceName", &NAME)];
static CREATE_SPACE: &[Field] = &[
    required("DomainId", &DOMAIN_ID),
    required("SpaceName", &NAME),
    optional("Tags", &TAGS),
    optional("SpaceSettings", &SPACE_SETTINGS),
    optional("OwnershipSettings", &Shape::Struct(&[required("OwnerUserProfileName", &NAME)])),
    optional(
        "SpaceSharingSettings",
        &Shape::Struct(&[required("SharingType", &Shape::OneOf(&["Private", "Shared"]))]),
    ),
    optional("SpaceDisplayName", &DISPLAY_NAME),
];
static UPDATE_SPACE: &[Field] = &[
    required("DomainId", &DOMAIN_ID),
    required("SpaceName", &NAME),
    optional("SpaceSettings", &SPACE_SETTINGS),
    optional("SpaceDisplayName", &DISPLAY_NAME),
];
static LIST_APPS: &[Field] = &[
    optional("NextToken", &NEXT_TOKEN),
    optional("MaxResults", &MAX_RESULTS),
    optional("SortOrder", &SORT_ORDER),
    optional("SortBy", &BY_CREATION),
    optional("DomainIdEquals", &DOMAIN_ID),
    optional("UserProfileNameEquals", &NAME),
    optional("SpaceNameEquals", &NAME),
];
/// DescribeApp and DeleteApp.
static ONE_APP: &[Field] = &[
    required("DomainId", &DOMAIN_ID),
    optional("UserProfileName", &NAME),
    optional("SpaceName", &NAME),
    required("AppType", &APP_TYPE),
    required("AppName", &NAME),
];
static CREATE_APP: &[Field] = &[
    required("DomainId", &DOMAIN_ID),
    optional("UserProfileName", &NAME),
    optional("SpaceName", &NAME),
    required("AppType", &APP_TYPE),
    required("AppName", &NAME),
    optional("Tags", &TAGS),
    optional("ResourceSpec", &RESOURCE_SPEC),
    optional("RecoveryMode", &FLAG),
];
static RESOURCE_ARN: Shape = text(256, &p::RESOURCE_ARN);
static ADD_TAGS: &[Field] = &[required("ResourceArn", &RESOURCE_ARN), required("Tags", &TAGS)];
static LIST_TAGS: &[Field] = &[
    required("ResourceArn", &RESOURCE_ARN),
    optional("NextToken", &NEXT_TOKEN),
    optional("MaxResults", &Shape::Int { min: 50, max: i32::MAX as i64 }),
];
static START_SESSION: &[Field] =
    &[required("ResourceIdentifier", &Shape::Text { min: 1, max: 256, pattern: Some(&p::RESOURCE_ID) })];

/// The input of an operation, if it is simulated.
pub(super) fn input(operation: &str) -> Option<&'static [Field]> {
    Some(match operation {
        "ListDomains" => LIST_DOMAINS,
        "DescribeDomain" => DESCRIBE_DOMAIN,
        "ListUserProfiles" => LIST_USER_PROFILES,
        "DescribeUserProfile" => DESCRIBE_USER_PROFILE,
        "ListSpaces" => LIST_SPACES,
        "DescribeSpace" | "DeleteSpace" => ONE_SPACE,
        "CreateSpace" => CREATE_SPACE,
        "UpdateSpace" => UPDATE_SPACE,
        "ListApps" => LIST_APPS,
        "DescribeApp" | "DeleteApp" => ONE_APP,
        "CreateApp" => CREATE_APP,
        "AddTags" => ADD_TAGS,
        "ListTags" => LIST_TAGS,
        "StartSession" => START_SESSION,
        _ => return None,
    })
}
