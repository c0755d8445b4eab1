UPDATE workers SET renewed = x'0c';
