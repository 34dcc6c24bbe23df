enum Currency { EUR = 978, USD = 840 }

struct Meta { 1: optional string trace, 2: i64 at (api.js_conv = ""), 3: optional Meta parent }

exception Denied { 1: string message, 2: i32 code (api.http_code = ""), 3: optional Meta meta } (api.http_code = "403")
exception Broken { 1: string why }

struct Charge {
  1: required string userId (api.path = "userId")
  2: required i64 amount
  3: Currency currency = Currency.EUR
  4: optional string key (api.header = "Idempotency-Key", api.cookie = "key")
  5: optional list<i32> tags (api.query = "tag", api.body = "tags")
  6: optional Meta meta
  7: bool secret (api.none = "")
  8: required i16 tries = 3
  9: optional bool urgent (api.query = "urgent")
  10: binary blob
  11: map<i32, string> notes
  12: double rate
  13: map<Currency, i8> weights
  14: map<Meta, bool> flags
  15: optional set<string> labels (api.header = "X-Labels")
  16: optional Either either
  1000: optional string far
}

struct Receipt {
  1: string id (api.header = "X-Receipt")
  2: i32 status (api.http_code = "")
  3: string session (api.cookie = "sid")
  4: required binary blob
  5: map<i32, string> names = {1: "one"}
  6: Currency currency
  7: string secret (api.none = "")
}

struct Page { 1: binary html (api.raw_body = ""), 2: string type (api.header = "Content-Type") }

union Either { 1: string text, 2: i64 number }

service Shop {
  Receipt charge(1: Charge req) throws (1: Denied denied, 2: Broken broken) (api.post = "/users/:userId/charges")
  list<Receipt> recent(1: string userId, 2: i32 limit = 20, 3: optional set<Currency> only) (api.get = "/users/{userId}/charges")
  oneway void forget(1: string userId) (api.delete = "/users/{userId}")
  void clear() (api.delete = "/all")
  Page page(1: string path (api.path = "path")) (api.get = "/pages/*path")
  string upload(1: string name, 2: binary data (api.raw_body = "")) (api.put = "/files/{name}")
  bool check(1: Either either) (api.post = "/check")
  Meta latest(1: bool deep) (api.get = "/users/latest/charges")
}
