# Shared by all services.
export SHOP_MODE="${SHOP_MODE:-live}"
