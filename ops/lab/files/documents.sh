#!/bin/bash
# Fills MongoDB's database shop with documents of every type and two collections' indexes; run in the server's container. With the last
# document there it does nothing. The tools are MongoDB's own: mongorestore brings collections with their indexes, mongoimport documents.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(umask 077 && printf 'uri: mongodb://shop:%s@127.0.0.1:27017/?authSource=admin\n' "$(cat /run/secrets/mongodb-password)" >"$folder/login")
tool() { "$1" --config "$folder/login" "${@:2}" 2>"$folder/said" || { cat "$folder/said" >&2 && return 1; }; }
if tool mongoexport -d shop -c customers -q '{"_id": "last"}' | grep -q last; then exit 0; fi

mkdir "$folder/shop"
: >"$folder/shop/products.bson"
: >"$folder/shop/customers.bson"
cat >"$folder/shop/products.metadata.json" <<'JSON'
{"options": {}, "collectionName": "products", "type": "collection", "indexes": [
    {"v": 2, "key": {"_id": 1}, "name": "_id_"}, {"v": 2, "key": {"sku": 1}, "name": "sku_1", "unique": true},
    {"v": 2, "key": {"group": 1, "price": -1}, "name": "group_1_price_-1"}]}
JSON
cat >"$folder/shop/customers.metadata.json" <<'JSON'
{"options": {}, "collectionName": "customers", "type": "collection", "indexes": [
    {"v": 2, "key": {"_id": 1}, "name": "_id_"}, {"v": 2, "key": {"address.city": 1}, "name": "city"}]}
JSON
tool mongorestore --drop --nsInclude 'shop.*' "$folder"

# shellcheck disable=SC2016  # the dollars are MongoDB's
for n in $(seq 150); do
    printf '{"_id": %d, "sku": "P-%04d", "group": "g%d", "price": {"$numberDouble": "%d.37"}, "stock": {"$numberLong": "%d"}, "tags": ["a", null, %d]}\n' \
        "$n" "$n" $((n % 7)) "$n" $((n * 4294967296)) "$n"
done | tool mongoimport --stopOnError -d shop -c products
tool mongoimport --stopOnError -d shop -c customers <<'JSON'
{"_id": {"$oid": "65a000000000000000000001"}, "name": "Ada", "address": {"city": "Zürich", "lines": ["Straße 1", ""]}, "since": {"$date": "2025-03-30T01:02:03.456Z"}}
{"_id": {"$oid": "65a000000000000000000002"}, "name": "你好 🦆 \"quoted\" \\ \n line", "address": {}, "photo": {"$binary": {"base64": "AAEC/w==", "subType": "00"}}}
{"_id": "text as key", "nothing": null, "yes": true, "whole": {"$numberInt": "-1"}, "tiny": {"$numberDouble": "1e-300"}, "minus": {"$numberDouble": "-0.0"}}
{"_id": {"$numberLong": "9007199254740993"}, "far": {"$date": {"$numberLong": "4102444800000"}}, "stamp": {"$timestamp": {"t": 1735689600, "i": 7}}, "like": {"$regularExpression": {"pattern": "^a.*b$", "options": "i"}}}
{"_id": "odd", "value": {"$numberDouble": "1.7976931348623157e308"}}
{"_id": "order of keys", "z": 1, "a": 2, "m": {"b": 1, "a": 2}}
JSON
echo '{"_id": "last"}' | tool mongoimport -d shop -c customers
echo 'MongoDB filled'
