#!/bin/sh
echo "api $1 $SHOP_MODE on $PORT as $(id -u)"
