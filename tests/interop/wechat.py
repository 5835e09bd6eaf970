"""Makes pushes of WeChat's as wechatpy encrypts and signs them: one JSON object a line in, its query and body out.

In: token, key, appid, timestamp, nonce, form (xml, json), mode (plain, compatible, safe) and message.
"""

import json
import sys
from urllib.parse import urlencode

import xmltodict
from wechatpy.crypto import WeChatCrypto
from wechatpy.utils import WeChatSigner, check_signature


def push(said):
    token, timestamp, nonce = said["token"], said["timestamp"], said["nonce"]
    signer = WeChatSigner()
    signer.add_data(token, timestamp, nonce)
    check_signature(token, signer.signature, timestamp, nonce)
    query = {"signature": signer.signature, "timestamp": timestamp, "nonce": nonce}
    message = said["message"]
    if said["mode"] == "plain":
        return query, message
    crypto = WeChatCrypto(token, said["key"], said["appid"])
    packed = crypto.encrypt_message(message, nonce, timestamp)
    outer = xmltodict.parse(packed)["xml"]
    assert crypto.decrypt_message(packed, outer["MsgSignature"], timestamp, nonce) == message
    query |= {"openid": "oSomebody0000", "encrypt_type": "aes", "msg_signature": outer["MsgSignature"]}
    shown = {"ToUserName": "gh_demo"}
    if said["mode"] == "compatible":
        shown = json.loads(message) if said["form"] == "json" else xmltodict.parse(message)["xml"]
    shown["Encrypt"] = outer["Encrypt"]
    if said["form"] == "json":
        return query, json.dumps(shown)
    return query, xmltodict.unparse({"xml": shown}, full_document=False)


for line in sys.stdin:
    query, body = push(json.loads(line))
    print(json.dumps({"query": urlencode(query), "body": body}), flush=True)
