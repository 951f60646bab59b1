"""Make the buckets that are named and not there yet, waiting up to ten minutes for a server that is about to start."""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SECONDS = 600
# Someone, or an earlier try, has made it.
THERE = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")
# Wrong keys do not become right by waiting.
REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")

s3 = boto3.client("s3", config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 0}))
until = time.monotonic() + SECONDS
for bucket in sys.argv[1:]:
    while True:
        try:
            s3.create_bucket(Bucket=bucket)
            print(f"{bucket}: made")
            break
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in THERE:
                print(f"{bucket}: is there")
                break
            if code in REFUSED:
                sys.exit(f"{bucket}: {code}: the server does not take the keys of the Secret")
            said = code
        except BotoCoreError as error:
            said = str(error)
        if time.monotonic() > until:
            sys.exit(f"{bucket}: not made within {SECONDS} s: {said}")
        time.sleep(2)
